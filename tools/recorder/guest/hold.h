/* SPDX-License-Identifier: MIT */
/*
 * References that a task holds on its pages. A short-term one is taken by vmsplice, which keeps it while the page lies in a
 * pipe; a long-term pin by registering the memory as a buffer of an io_uring. Both belong to the process.
 */
#ifndef GUEST_HOLD_H
#define GUEST_HOLD_H

#include <pagesim/types.h>

/** hold_get() - put the pages into a pipe. Return: how many it took, -errno. */
long hold_get(u64 addr, u64 pages, u64 step);
/** hold_pin() - register the pages, all or none. Return: 0, -errno. */
long hold_pin(u64 addr, u64 pages, u64 step);

/** hold_drop() - give back the newest hold (@pinned: pins only, else references only) of exactly these pages. Return: 0, -EINVAL. */
long hold_drop(bool pinned, u64 addr, u64 pages, u64 step);
/** hold_drop_all() - the process ends. */
void hold_drop_all(void);
/** hold_forget_all() - the process is a child: what its parent holds is not its own. */
void hold_forget_all(void);

#endif
