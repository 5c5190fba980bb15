
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of Klaviyo's words may be shown: they quote what was sent.  Only those
 * of a fixed vocabulary are, the names of the API's fields and what its errors
 * are said with; all else is "***".  So nothing of a visitor can be among them,
 * whatever Klaviyo says and however it quotes.
 */


#ifndef _NGX_HTTP_KLAVIYO_WORDS_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_WORDS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Copies "text" to "buf" of "size" bytes, NUL-terminated: what stands between
 * two blanks is kept if each word in it is known, else it is "***", once for
 * several in a row.  A number is known if it has at most three digits and is
 * between words that are: not a part of a telephone number.  Printable ASCII
 * comes out, whatever goes in; what has no room is left out.
 */
void ngx_http_klaviyo_words(u_char *buf, size_t size, ngx_str_t *text);

/* The same for a JSON pointer: part by part, indexes of up to five digits. */
void ngx_http_klaviyo_words_pointer(u_char *buf, size_t size,
    ngx_str_t *pointer);


#endif /* _NGX_HTTP_KLAVIYO_WORDS_H_INCLUDED_ */
