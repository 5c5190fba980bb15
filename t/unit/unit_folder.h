
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A folder of a test's own, and the files in it.
 */


#ifndef _UNIT_FOLDER_H_INCLUDED_
#define _UNIT_FOLDER_H_INCLUDED_


#include "unit.h"

#include <sys/stat.h>


/* and all that is in it, one level deep */

static ngx_inline void
unit_folder_remove(char *folder)
{
    DIR            *dir;
    char            path[512];
    struct dirent  *de;

    dir = opendir(folder);
    if (dir == NULL) {
        return;
    }

    while ((de = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, de->d_name);

        if (unlink(path) == -1) {
            (void) rmdir(path);
        }
    }

    (void) closedir(dir);
    (void) rmdir(folder);
}


/* the first file whose name ends so, in "name"; the number of them */

static ngx_inline ngx_uint_t
unit_folder_find(char *folder, char *suffix, char *name)
{
    DIR            *dir;
    size_t          len;
    ngx_uint_t      n;
    struct dirent  *de;

    n = 0;
    dir = opendir(folder);
    assert_non_null(dir);

    while ((de = readdir(dir)) != NULL) {
        len = strlen(de->d_name);

        if (len < strlen(suffix)
            || strcmp(de->d_name + len - strlen(suffix), suffix) != 0)
        {
            continue;
        }

        if (name && (n == 0 || strcmp(de->d_name, name) < 0)) {
            strcpy(name, de->d_name);
        }

        n++;
    }

    (void) closedir(dir);

    return n;
}


static ngx_inline ngx_str_t *
unit_folder_read(ngx_pool_t *pool, char *folder, char *name)
{
    int           fd;
    char          path[512];
    ngx_str_t    *text;
    struct stat   st;

    snprintf(path, sizeof(path), "%s/%s", folder, name);

    fd = open(path, O_RDONLY);
    assert_true(fd != -1);
    assert_int_equal(fstat(fd, &st), 0);

    text = unit_fill(pool, '\0', st.st_size + 1);
    text->len = st.st_size;

    assert_int_equal(read(fd, text->data, text->len), text->len);

    (void) close(fd);

    return text;
}


static ngx_inline void
unit_folder_write(char *folder, char *name, u_char *data, size_t len)
{
    int   fd;
    char  path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, name);

    fd = open(path, O_WRONLY|O_CREAT|O_TRUNC, 0600);
    assert_true(fd != -1);
    assert_int_equal(write(fd, data, len), len);
    (void) close(fd);
}


#endif /* _UNIT_FOLDER_H_INCLUDED_ */
