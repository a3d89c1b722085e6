/* SPDX-License-Identifier: MIT */
/*
 * A place in the source, cheap enough to pass to every lock operation: one pointer to constant data. Each operation that
 * records its place is a macro over an _at function that takes it; a wrapper whose caller is the interesting place
 * passes its own caller's on the same way.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_SITE_H
#define PAGESIM_SITE_H

#include <pagesim/types.h>

/** Lives for ever. */
struct ps_site {
	const char *file;
	int line;
};

/** The place where this macro stands. */
#define PS_HERE                                                                \
	__extension__({                                                        \
		static const struct ps_site ps_here_ = { __FILE__, __LINE__ }; \
		&ps_here_;                                                     \
	})

#endif
