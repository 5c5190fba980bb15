
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Telephone numbers: as people write them in their country, made
 * international (ITU-T E.164).  What may be two numbers is none.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"


/* without "+" */
#define NGX_HTTP_KLAVIYO_PHONE_MIN     7
#define NGX_HTTP_KLAVIYO_PHONE_MAX     15

/* digits with prefixes; more is no number */
#define NGX_HTTP_KLAVIYO_PHONE_DIGITS  24


typedef struct {
    char        name[3];
    char        code[4];
    char        trunk[3];   /* dialed before a national number */
    char        abroad[5];  /* dialed before the code of another country */

    /* digits of a national number without trunk prefix */
    u_char      min;
    u_char      max;
} ngx_http_klaviyo_country_t;


static size_t ngx_http_klaviyo_phone_digits(u_char *digits, ngx_str_t *text,
    ngx_uint_t *plus);
static u_char *ngx_http_klaviyo_phone_skip(u_char *p, u_char *last);
static ngx_int_t ngx_http_klaviyo_phone_national(
    ngx_http_klaviyo_country_t *country, u_char *digits, size_t len,
    size_t *skip);
static ngx_uint_t ngx_http_klaviyo_phone_known(u_char *digits, size_t len);
static ngx_uint_t ngx_http_klaviyo_phone_fits(
    ngx_http_klaviyo_country_t *country, u_char *digits, size_t len);
static ngx_uint_t ngx_http_klaviyo_phone_begins(u_char *digits, size_t len,
    char *prefix);


/*
 * Where "abroad" is "", the prefix is not one or "00" begins something else:
 * only "+" is understood.
 */

static ngx_http_klaviyo_country_t  ngx_http_klaviyo_countries[] = {
    { "AD", "376", "", "00", 6, 9 },
    { "AE", "971", "0", "00", 8, 9 },
    { "AF", "93", "0", "00", 9, 9 },
    { "AG", "1", "1", "011", 10, 10 },
    { "AI", "1", "1", "011", 10, 10 },
    { "AL", "355", "0", "00", 8, 9 },
    { "AM", "374", "0", "00", 8, 8 },
    { "AO", "244", "", "00", 9, 9 },
    { "AQ", "672", "", "", 6, 6 },
    { "AR", "54", "0", "00", 10, 11 },
    { "AS", "1", "1", "011", 10, 10 },
    { "AT", "43", "0", "00", 4, 13 },
    { "AU", "61", "0", "0011", 9, 9 },
    { "AW", "297", "", "00", 7, 7 },
    { "AX", "358", "0", "00", 5, 11 },
    { "AZ", "994", "0", "00", 9, 9 },
    { "BA", "387", "0", "00", 8, 9 },
    { "BB", "1", "1", "011", 10, 10 },
    { "BD", "880", "0", "00", 6, 10 },
    { "BE", "32", "0", "00", 8, 9 },
    { "BF", "226", "", "00", 8, 8 },
    { "BG", "359", "0", "00", 7, 9 },
    { "BH", "973", "", "00", 8, 8 },
    { "BI", "257", "", "00", 8, 8 },
    { "BJ", "229", "", "00", 8, 10 },
    { "BL", "590", "0", "00", 9, 9 },
    { "BM", "1", "1", "011", 10, 10 },
    { "BN", "673", "", "00", 7, 7 },
    { "BO", "591", "0", "", 8, 8 },
    { "BQ", "599", "", "00", 7, 7 },
    { "BR", "55", "0", "", 10, 11 },
    { "BS", "1", "1", "011", 10, 10 },
    { "BT", "975", "", "00", 7, 8 },
    { "BW", "267", "", "00", 7, 8 },
    { "BY", "375", "80", "810", 9, 9 },
    { "BZ", "501", "", "00", 7, 7 },
    { "CA", "1", "1", "011", 10, 10 },
    { "CC", "61", "0", "0011", 9, 9 },
    { "CD", "243", "0", "00", 7, 9 },
    { "CF", "236", "", "00", 8, 8 },
    { "CG", "242", "", "00", 9, 9 },
    { "CH", "41", "0", "00", 9, 9 },
    { "CI", "225", "", "00", 10, 10 },
    { "CK", "682", "", "00", 5, 5 },
    { "CL", "56", "", "", 9, 9 },
    { "CM", "237", "", "00", 9, 9 },
    { "CN", "86", "0", "00", 10, 11 },
    { "CO", "57", "", "", 10, 10 },
    { "CR", "506", "", "00", 8, 8 },
    { "CU", "53", "0", "119", 6, 8 },
    { "CV", "238", "", "", 7, 7 },
    { "CW", "599", "", "00", 7, 8 },
    { "CX", "61", "0", "0011", 9, 9 },
    { "CY", "357", "", "00", 8, 8 },
    { "CZ", "420", "", "00", 9, 9 },
    { "DE", "49", "0", "00", 6, 11 },
    { "DJ", "253", "", "00", 8, 8 },
    { "DK", "45", "", "00", 8, 8 },
    { "DM", "1", "1", "011", 10, 10 },
    { "DO", "1", "1", "011", 10, 10 },
    { "DZ", "213", "0", "00", 8, 9 },
    { "EC", "593", "0", "00", 8, 9 },
    { "EE", "372", "", "00", 7, 8 },
    { "EG", "20", "0", "00", 8, 10 },
    { "EH", "212", "0", "00", 9, 9 },
    { "ER", "291", "0", "00", 7, 7 },
    { "ES", "34", "", "00", 9, 9 },
    { "ET", "251", "0", "00", 9, 9 },
    { "FI", "358", "0", "00", 5, 11 },
    { "FJ", "679", "", "00", 7, 7 },
    { "FK", "500", "", "00", 5, 5 },
    { "FM", "691", "", "011", 7, 7 },
    { "FO", "298", "", "00", 6, 6 },
    { "FR", "33", "0", "00", 9, 9 },
    { "GA", "241", "0", "00", 8, 8 },
    { "GB", "44", "0", "00", 9, 10 },
    { "GD", "1", "1", "011", 10, 10 },
    { "GE", "995", "0", "00", 9, 9 },
    { "GF", "594", "0", "00", 9, 9 },
    { "GG", "44", "0", "00", 10, 10 },
    { "GH", "233", "0", "00", 9, 9 },
    { "GI", "350", "", "00", 8, 8 },
    { "GL", "299", "", "00", 6, 6 },
    { "GM", "220", "", "00", 7, 7 },
    { "GN", "224", "", "00", 8, 9 },
    { "GP", "590", "0", "00", 9, 9 },
    { "GQ", "240", "", "00", 9, 9 },
    { "GR", "30", "", "00", 10, 10 },
    { "GS", "500", "", "00", 5, 5 },
    { "GT", "502", "", "00", 8, 8 },
    { "GU", "1", "1", "011", 10, 10 },
    { "GW", "245", "", "00", 7, 9 },
    { "GY", "592", "", "001", 7, 7 },
    { "HK", "852", "", "", 8, 8 },
    { "HN", "504", "", "00", 8, 8 },
    { "HR", "385", "0", "00", 7, 9 },
    { "HT", "509", "", "00", 8, 8 },
    { "HU", "36", "06", "00", 8, 9 },
    { "ID", "62", "0", "", 7, 12 },
    { "IE", "353", "0", "00", 7, 9 },
    { "IL", "972", "0", "00", 8, 9 },
    { "IM", "44", "0", "00", 10, 10 },
    { "IN", "91", "0", "00", 10, 10 },
    { "IO", "246", "", "00", 7, 7 },
    { "IQ", "964", "0", "00", 8, 10 },
    { "IR", "98", "0", "00", 10, 10 },
    { "IS", "354", "", "00", 7, 9 },
    { "IT", "39", "", "00", 6, 10 },
    { "JE", "44", "0", "00", 10, 10 },
    { "JM", "1", "1", "011", 10, 10 },
    { "JO", "962", "0", "00", 8, 9 },
    { "JP", "81", "0", "010", 9, 10 },
    { "KE", "254", "0", "000", 7, 9 },
    { "KG", "996", "0", "00", 9, 9 },
    { "KH", "855", "0", "", 8, 9 },
    { "KI", "686", "", "00", 5, 8 },
    { "KM", "269", "", "00", 7, 7 },
    { "KN", "1", "1", "011", 10, 10 },
    { "KP", "850", "0", "00", 8, 10 },
    { "KR", "82", "0", "", 8, 10 },
    { "KW", "965", "", "00", 8, 8 },
    { "KY", "1", "1", "011", 10, 10 },
    { "KZ", "7", "8", "810", 10, 10 },
    { "LA", "856", "0", "00", 8, 10 },
    { "LB", "961", "0", "00", 7, 8 },
    { "LC", "1", "1", "011", 10, 10 },
    { "LI", "423", "", "00", 7, 9 },
    { "LK", "94", "0", "00", 9, 9 },
    { "LR", "231", "0", "00", 7, 9 },
    { "LS", "266", "", "00", 8, 8 },
    { "LT", "370", "0", "00", 8, 8 },
    { "LU", "352", "", "00", 4, 11 },
    { "LV", "371", "", "00", 8, 8 },
    { "LY", "218", "0", "00", 8, 9 },
    { "MA", "212", "0", "00", 9, 9 },
    { "MC", "377", "0", "00", 8, 9 },
    { "MD", "373", "0", "00", 8, 8 },
    { "ME", "382", "0", "00", 8, 9 },
    { "MF", "590", "0", "00", 9, 9 },
    { "MG", "261", "0", "00", 9, 9 },
    { "MH", "692", "", "011", 7, 7 },
    { "MK", "389", "0", "00", 8, 8 },
    { "ML", "223", "", "00", 8, 8 },
    { "MM", "95", "0", "00", 7, 10 },
    { "MN", "976", "0", "", 8, 8 },
    { "MO", "853", "", "00", 8, 8 },
    { "MP", "1", "1", "011", 10, 10 },
    { "MQ", "596", "0", "00", 9, 9 },
    { "MR", "222", "", "00", 8, 8 },
    { "MS", "1", "1", "011", 10, 10 },
    { "MT", "356", "", "00", 8, 8 },
    { "MU", "230", "", "00", 7, 8 },
    { "MV", "960", "", "00", 7, 7 },
    { "MW", "265", "0", "00", 7, 9 },
    { "MX", "52", "", "00", 10, 10 },
    { "MY", "60", "0", "00", 8, 10 },
    { "MZ", "258", "", "00", 8, 9 },
    { "NA", "264", "0", "00", 8, 9 },
    { "NC", "687", "", "00", 6, 6 },
    { "NE", "227", "", "00", 8, 8 },
    { "NF", "672", "", "00", 6, 6 },
    { "NG", "234", "0", "009", 8, 10 },
    { "NI", "505", "", "00", 8, 8 },
    { "NL", "31", "0", "00", 9, 9 },
    { "NO", "47", "", "00", 8, 8 },
    { "NP", "977", "0", "00", 8, 10 },
    { "NR", "674", "", "00", 7, 7 },
    { "NU", "683", "", "00", 4, 7 },
    { "NZ", "64", "0", "00", 8, 10 },
    { "OM", "968", "", "00", 8, 8 },
    { "PA", "507", "", "00", 7, 8 },
    { "PE", "51", "0", "00", 8, 9 },
    { "PF", "689", "", "00", 8, 8 },
    { "PG", "675", "", "00", 7, 8 },
    { "PH", "63", "0", "00", 8, 10 },
    { "PK", "92", "0", "00", 9, 10 },
    { "PL", "48", "", "00", 9, 9 },
    { "PM", "508", "0", "00", 6, 9 },
    { "PN", "64", "0", "00", 8, 10 },
    { "PR", "1", "1", "011", 10, 10 },
    { "PS", "970", "0", "00", 8, 9 },
    { "PT", "351", "", "00", 9, 9 },
    { "PW", "680", "", "011", 7, 7 },
    { "PY", "595", "0", "00", 7, 9 },
    { "QA", "974", "", "00", 8, 8 },
    { "RE", "262", "0", "00", 9, 9 },
    { "RO", "40", "0", "00", 9, 9 },
    { "RS", "381", "0", "00", 7, 10 },
    { "RU", "7", "8", "810", 10, 10 },
    { "RW", "250", "0", "00", 9, 9 },
    { "SA", "966", "0", "00", 9, 9 },
    { "SB", "677", "", "00", 5, 7 },
    { "SC", "248", "", "00", 7, 7 },
    { "SD", "249", "0", "00", 9, 9 },
    { "SE", "46", "0", "00", 7, 9 },
    { "SG", "65", "", "", 8, 8 },
    { "SH", "290", "", "00", 4, 5 },
    { "SI", "386", "0", "00", 8, 8 },
    { "SJ", "47", "", "00", 8, 8 },
    { "SK", "421", "0", "00", 9, 9 },
    { "SL", "232", "0", "00", 8, 8 },
    { "SM", "378", "", "00", 6, 10 },
    { "SN", "221", "", "00", 9, 9 },
    { "SO", "252", "0", "00", 7, 9 },
    { "SR", "597", "", "00", 6, 7 },
    { "SS", "211", "0", "00", 9, 9 },
    { "ST", "239", "", "00", 7, 7 },
    { "SV", "503", "", "00", 8, 8 },
    { "SX", "1", "1", "011", 10, 10 },
    { "SY", "963", "0", "00", 8, 9 },
    { "SZ", "268", "", "00", 8, 8 },
    { "TC", "1", "1", "011", 10, 10 },
    { "TD", "235", "", "00", 8, 8 },
    { "TF", "262", "0", "00", 9, 9 },
    { "TG", "228", "", "00", 8, 8 },
    { "TH", "66", "0", "", 8, 9 },
    { "TJ", "992", "", "810", 9, 9 },
    { "TK", "690", "", "00", 4, 7 },
    { "TL", "670", "", "00", 7, 8 },
    { "TM", "993", "8", "810", 8, 8 },
    { "TN", "216", "", "00", 8, 8 },
    { "TO", "676", "", "00", 5, 7 },
    { "TR", "90", "0", "00", 10, 10 },
    { "TT", "1", "1", "011", 10, 10 },
    { "TV", "688", "", "00", 5, 7 },
    { "TW", "886", "0", "", 8, 9 },
    { "TZ", "255", "0", "000", 9, 9 },
    { "UA", "380", "0", "00", 9, 9 },
    { "UG", "256", "0", "000", 9, 9 },
    { "UM", "1", "1", "011", 10, 10 },
    { "US", "1", "1", "011", 10, 10 },
    { "UY", "598", "0", "00", 8, 8 },
    { "UZ", "998", "", "00", 9, 9 },
    { "VA", "39", "", "00", 6, 10 },
    { "VC", "1", "1", "011", 10, 10 },
    { "VE", "58", "0", "00", 10, 10 },
    { "VG", "1", "1", "011", 10, 10 },
    { "VI", "1", "1", "011", 10, 10 },
    { "VN", "84", "0", "00", 9, 10 },
    { "VU", "678", "", "00", 5, 7 },
    { "WF", "681", "", "00", 6, 6 },
    { "WS", "685", "", "00", 5, 7 },
    { "XK", "383", "0", "00", 8, 9 },
    { "YE", "967", "0", "00", 7, 9 },
    { "YT", "262", "0", "00", 9, 9 },
    { "ZA", "27", "0", "00", 9, 9 },
    { "ZM", "260", "0", "00", 9, 9 },
    { "ZW", "263", "0", "00", 6, 10 },
};


#define NGX_HTTP_KLAVIYO_COUNTRIES                                            \
    (sizeof(ngx_http_klaviyo_countries) / sizeof(ngx_http_klaviyo_country_t))


void *
ngx_http_klaviyo_phone_country(ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_country_t  *country;

    if (name->len != 2) {
        return NULL;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_COUNTRIES; i++) {
        country = &ngx_http_klaviyo_countries[i];

        if (ngx_strncasecmp((u_char *) country->name, name->data, 2) == 0) {
            return country;
        }
    }

    return NULL;
}


size_t
ngx_http_klaviyo_phone_format(u_char *buf, void *country, ngx_str_t *text)
{
    u_char                      *p, *code;
    size_t                       len, skip;
    ngx_uint_t                   plus;
    ngx_http_klaviyo_country_t  *c;

    u_char  digits[NGX_HTTP_KLAVIYO_PHONE_DIGITS];

    c = country;

    len = ngx_http_klaviyo_phone_digits(digits, text, &plus);

    code = (u_char *) "";
    skip = 0;

    if (plus) {
        /* void */

    } else if (c == NULL) {
        return 0;

    } else if (c->abroad[0] && ngx_http_klaviyo_phone_begins(digits, len,
                                                             c->abroad))
    {
        skip = ngx_strlen(c->abroad);

        if (!ngx_http_klaviyo_phone_known(&digits[skip], len - skip)) {
            return 0;
        }

    } else if (ngx_http_klaviyo_phone_national(c, digits, len, &skip)
               == NGX_OK)
    {
        code = (u_char *) c->code;

    } else {
        return 0;
    }

    len -= skip;

    if (len + ngx_strlen(code) < NGX_HTTP_KLAVIYO_PHONE_MIN
        || len + ngx_strlen(code) > NGX_HTTP_KLAVIYO_PHONE_MAX
        || (*code == '\0' && digits[skip] == '0'))
    {
        return 0;
    }

    p = buf;
    *p++ = '+';
    p = ngx_cpymem(p, code, ngx_strlen(code));
    p = ngx_cpymem(p, &digits[skip], len);

    return p - buf;
}


ngx_uint_t
ngx_http_klaviyo_phone_valid(ngx_str_t *number)
{
    return number->len
           && ngx_http_klaviyo_phone_known(number->data + 1, number->len - 1);
}


/*
 * Takes the digits from between what people write between them, and returns
 * how many there are, 0 if there is anything else.  The "(0)" of "+44 (0)20"
 * is not dialed from abroad, but in Italy the zero belongs to the number.
 */

static size_t
ngx_http_klaviyo_phone_digits(u_char *digits, ngx_str_t *text,
    ngx_uint_t *plus)
{
    size_t   n;
    u_char  *p, *last;

    n = 0;
    *plus = 0;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        if (*p >= '0' && *p <= '9') {

            if (n == NGX_HTTP_KLAVIYO_PHONE_DIGITS) {
                return 0;
            }

            digits[n++] = *p++;

        } else if (*p == '+' && n == 0 && !*plus) {
            *plus = 1;
            p++;

        } else if (*plus && n && last - p > 3
                   && ngx_strncmp(p, "(0)", 3) == 0
                   && !(n == 2 && ngx_strncmp(digits, "39", 2) == 0))
        {
            p += 3;

        } else {
            p = ngx_http_klaviyo_phone_skip(p, last);

            if (p == NULL) {
                return 0;
            }
        }
    }

    return n;
}


/* returns what follows a separator, NULL if it is none */

static u_char *
ngx_http_klaviyo_phone_skip(u_char *p, u_char *last)
{
    if (*p == '\0') {
        return NULL;
    }

    if (ngx_strchr(" -.()/\t", *p)) {
        return p + 1;
    }

    /* no-break space */

    if (last - p >= 2 && p[0] == 0xc2 && p[1] == 0xa0) {
        return p + 2;
    }

    /* blanks, marks of direction and hyphens; marks of direction again */

    if (last - p >= 3 && p[0] == 0xe2 && p[1] == 0x80
        && ((p[2] >= 0x80 && p[2] <= 0x95) || (p[2] >= 0xaa && p[2] <= 0xaf)))
    {
        return p + 3;
    }

    return NULL;
}


/*
 * Finds how many digits stand before the national number.  Returns NGX_OK, or
 * NGX_DECLINED if these digits are no number of the country, or may as well
 * begin with its code: 4930123456 lacks "+" or is one of Leer's.
 */

static ngx_int_t
ngx_http_klaviyo_phone_national(ngx_http_klaviyo_country_t *country,
    u_char *digits, size_t len, size_t *skip)
{
    size_t  n;

    *skip = 0;

    n = ngx_strlen(country->trunk);

    if (ngx_http_klaviyo_phone_begins(digits, len, country->trunk)
        && ngx_http_klaviyo_phone_fits(country, digits + n, len - n))
    {
        *skip = n;
        return NGX_OK;
    }

    if (!ngx_http_klaviyo_phone_fits(country, digits, len)) {
        return NGX_DECLINED;
    }

    n = ngx_strlen(country->code);

    if (country->trunk[0]
        && ngx_http_klaviyo_phone_begins(digits, len, country->code)
        && ngx_http_klaviyo_phone_fits(country, digits + n, len - n))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Whether the digits are a code and a number of that country.  For a number
 * with "+" only asked of whoever has to be called: not all codes are those of
 * countries.
 */

static ngx_uint_t
ngx_http_klaviyo_phone_known(u_char *digits, size_t len)
{
    size_t                       n;
    ngx_uint_t                   i;
    ngx_http_klaviyo_country_t  *country;

    for (i = 0; i < NGX_HTTP_KLAVIYO_COUNTRIES; i++) {
        country = &ngx_http_klaviyo_countries[i];

        n = ngx_strlen(country->code);

        if (ngx_http_klaviyo_phone_begins(digits, len, country->code)
            && ngx_http_klaviyo_phone_fits(country, digits + n, len - n))
        {
            return 1;
        }
    }

    return 0;
}


/* what the trunk prefix begins with, "0" or "1", begins no number */

static ngx_uint_t
ngx_http_klaviyo_phone_fits(ngx_http_klaviyo_country_t *country,
    u_char *digits, size_t len)
{
    if (len < country->min || len > country->max) {
        return 0;
    }

    return digits[0] > country->trunk[0] || country->trunk[0] > '1';
}


static ngx_uint_t
ngx_http_klaviyo_phone_begins(u_char *digits, size_t len, char *prefix)
{
    size_t  n;

    n = ngx_strlen(prefix);

    return len >= n && ngx_strncmp(digits, prefix, n) == 0;
}
