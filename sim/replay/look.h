/* SPDX-License-Identifier: MIT */
/*
 * Looking at memory without touching it: what `show` and `smaps` print.
 */
#ifndef REPLAY_LOOK_H
#define REPLAY_LOOK_H

#include <glib.h>
#include <pagesim/mm.h>

/** Appends what is mapped at addr, as a line of `show` words it. Context: a current task; nobody else runs. */
void look_describe(GString *out, struct mm_struct *mm, u64 addr);
/** Appends the fields of smaps, summed over the VMAs that touch [start, end). */
void look_smaps(GString *out, struct mm_struct *mm, u64 start, u64 end);

#endif
