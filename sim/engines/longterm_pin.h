/* SPDX-License-Identifier: MIT */
/*
 * Moving pages out of ZONE_MOVABLE before they are pinned for long: see longterm_pin.c.
 */
#ifndef ENGINES_LONGTERM_PIN_H
#define ENGINES_LONGTERM_PIN_H

struct page;

/**
 * May these pages, pinned by get_user_pages with @flags, stay pinned for long? Those that may not are migrated.
 * Context: mmap_lock for reading; may sleep and allocate; PF_MEMALLOC_PIN is set.
 * Return: 0: they may, and are pinned. Else all pins are dropped: -EAGAIN: pin again; -ENOMEM: a page would not move.
 * Fidelity: exact without CMA, hugetlb and device memory, check_and_migrate_movable_pages().
 */
int check_and_migrate_movable_pages(unsigned long nr, struct page **pages, unsigned int flags);

#endif
