
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The configurations of the module's levels, as its parts share them.
 */


#ifndef _NGX_HTTP_KLAVIYO_MODULE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_memory.h"
#include "ngx_http_klaviyo_rule.h"
#include "ngx_http_klaviyo_secret.h"
#include "ngx_http_klaviyo_stories.h"
#include "ngx_http_klaviyo_tail.h"


typedef struct ngx_http_klaviyo_loc_conf_s  ngx_http_klaviyo_loc_conf_t;
typedef struct ngx_http_klaviyo_cookie_s  ngx_http_klaviyo_cookie_t;


typedef struct {
    ngx_array_t                          accounts;   /* _account_t * */
    ngx_array_t                          lanes;    /* _account_t *: of all
                                                      accounts */
    ngx_array_t                          rules;    /* _rule_t *, all */
    ngx_array_t                          references;   /* _reference_t */

    ngx_http_klaviyo_control_t          *control;
    ngx_uint_t                           needs;    /* of all levels */
    ngx_http_klaviyo_pick_t              request_pick;   /* all rules' */
    ngx_http_klaviyo_pick_t              response_pick;
    ngx_http_klaviyo_tail_t             *tail;     /* NULL: off */
    size_t                               tail_size;
    ngx_http_klaviyo_memory_t           *memory;   /* NULL: nobody needs it */
    size_t                               memory_size;
    ngx_uint_t                           remembers;   /* somebody does */
    ngx_uint_t                           cookies;  /* klaviyo_visitor_cookie */
    ngx_http_klaviyo_stories_t          *stories;  /* NULL: nobody may ask */
    ngx_path_t                          *spool;
    ngx_str_t                            rings;    /* of rings, as files are;
                                                      empty: they aren't */
    ngx_msec_t                           drain_timeout;

    /* what the control zone has open, as the master knows it */
    ngx_fd_t                             wake;

    /* levels are numbered as they are merged, an outer before its inner */
    ngx_uint_t                           levels;
    ngx_http_klaviyo_loc_conf_t         *http;     /* the outermost level */
    ngx_array_t                          servers;  /* _loc_conf_t *: those of
                                                      server{} levels */
    ngx_array_t                          inner;    /* _loc_conf_t *: of all
                                                      levels but http{} */

    /* variables that the request side asks for */
    ngx_int_t                            http_cookie;
    ngx_int_t                            kla_id;
    ngx_int_t                            kla_off;
    ngx_int_t                            request_id;
} ngx_http_klaviyo_main_conf_t;


/* klaviyo_except */
typedef struct {
    ngx_str_t                            metric;
    ngx_uint_t                           level;
    ngx_http_klaviyo_place_t            *place;
} ngx_http_klaviyo_except_t;


struct ngx_http_klaviyo_loc_conf_s {
    ngx_flag_t                           enable;   /* klaviyo on|off */
    ngx_str_t                            account_name;   /* if it stands here */
    ngx_str_t                            account_file;
    ngx_uint_t                           account_line;
    ngx_http_klaviyo_account_t          *account;

    ngx_array_t                         *rules;    /* _rule_t *: own ones */
    ngx_array_t                         *excepts;  /* _except_t, inherited
                                                      ones too */
    ngx_array_t                         *properties;   /* _node_t, likewise */
    ngx_array_t                         *profiles;   /* _profile_t, likewise */
    ngx_array_t                         *consent;  /* _condition_t: of the
                                                      nearest level */
    ngx_http_klaviyo_value_t            *visitor_own;   /* klaviyo_visitor,
                                                           NULL: off */
    ngx_http_klaviyo_value_t            *visitor;  /* that or the cookie's */
    ngx_http_klaviyo_cookie_t           *cookie;   /* NULL: off */
    time_t                               visitor_ttl;
    ngx_uint_t                           kx;       /* 1: confirm */
    ngx_uint_t                           backlog;  /* events; 0: off */
    time_t                               backlog_ttl;
    ngx_http_klaviyo_secret_t           *explain;  /* NULL: off */
    ngx_flag_t                           identifiers;   /* 1: all */
    ngx_uint_t                           identity;   /* rungs */
    ngx_uint_t                           ignore;
    size_t                               request_body_limit;
    size_t                               response_body_limit;
    ngx_uint_t                           needs;    /* of bodies: what its
                                                      properties, profiles and
                                                      consent name */

    /* the tree of levels: an inner level has a number of enter..leave */
    ngx_http_klaviyo_loc_conf_t         *parent;
    ngx_http_klaviyo_loc_conf_t         *server;
    ngx_uint_t                           enter;
    ngx_uint_t                           leave;
    ngx_uint_t                           tracked;  /* not off, or a level in
                                                      it is not */
    ngx_uint_t                           visited;  /* of a server{}: a level of
                                                      it has a visitor */
    ngx_uint_t                           confirms;   /* likewise: confirms a
                                                        _kx */

    /* of a server{}: the rules of all its levels */
    ngx_array_t                         *routes;   /* _route_t * */
    ngx_http_klaviyo_index_t            *index;
};


extern ngx_module_t  ngx_http_klaviyo_module;


#endif /* _NGX_HTTP_KLAVIYO_MODULE_H_INCLUDED_ */
