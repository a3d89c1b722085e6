/* SPDX-License-Identifier: MIT */
/*
 * The guest has no users, and a static program could not look them up. glib has functions that would: nobody calls them, but the
 * linker must find something, and this is better than the C library's, which it would warn of.
 */
#include <errno.h>
#include <pwd.h>
#include <stddef.h>

struct passwd *getpwuid(uid_t uid)
{
	(void)uid;
	errno = ENOENT;
	return NULL;
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
	(void)uid, (void)entry, (void)buffer, (void)size;
	*result = NULL;
	return ENOENT;
}

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
	(void)name, (void)entry, (void)buffer, (void)size;
	*result = NULL;
	return ENOENT;
}
