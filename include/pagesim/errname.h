/* SPDX-License-Identifier: MIT */
/*
 * Error numbers by name. Transcripts and reports print "EBUSY", not 16 and not the host's translated sentence.
 *
 * Layer: base
 */
#ifndef PAGESIM_ERRNAME_H
#define PAGESIM_ERRNAME_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The name of an error number; the sign does not matter.
 *
 * Return: "EBUSY" for 16 and for -16, "0" for 0, "E?" for a number without a name. Never NULL.
 */
const char *ps_errno_name(int err);

/** Return: the positive number of a name as ps_errno_name() gives it, or -EINVAL for an unknown name. */
int ps_errno_value(const char *name);

#ifdef __cplusplus
}
#endif

#endif
