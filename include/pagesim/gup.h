/* SPDX-License-Identifier: MIT */
/*
 * From a user address to the page behind it, with a reference: looking without faulting (follow_page), and get_user_pages,
 * which faults until the page is there.
 *
 * Two kinds of hold exist. A *get* is a reference like any other. A *pin* says that a device may write the page: it counts
 * GUP_PIN_COUNTING_BIAS references on a small page, one reference and one pincount on a compound page, and keeps an
 * anonymous page exclusive.
 *
 * Layer: fault
 */
#ifndef PAGESIM_GUP_H
#define PAGESIM_GUP_H

#include <pagesim/mm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct page;

#define FOLL_WRITE    0x01u
#define FOLL_GET      0x04u
#define FOLL_DUMP     0x08u /* a hole of anonymous memory and the zero page are errors */
#define FOLL_PIN      0x40000u
#define FOLL_LONGTERM 0x10000u

/**
 * The page mapped at addr, without faulting.
 * @ret_page: the page (with a reference if FOLL_GET) or NULL: none, not present, or PROT_NONE. Untouched on error.
 * Context: mmap_lock. Return: 0; -EFAULT with FOLL_DUMP: a hole of anonymous memory, or the zero page.
 * Fidelity: exact, follow_page().
 */
int follow_page(struct vm_area_struct *vma, u64 addr, unsigned int flags, struct page **ret_page);

/**
 * Gets or pins the pages of nr addresses from addr on, faulting them in.
 * @flags: FOLL_GET or FOLL_PIN, FOLL_WRITE, FOLL_LONGTERM.
 * Context: takes mmap_lock for reading; may sleep.
 * Return: how many pages were got (pages[] filled so far), or the error if that is none: -EFAULT, -ENOMEM. A long-term pin
 * of a disk file is for the caller to refuse, as io_uring does.
 * Fidelity: simplified, pin_user_pages() and get_user_pages(): always the slow way; and before a long-term pin pages are not
 * moved out of ZONE_MOVABLE.
 */
long get_user_pages(struct mm_struct *mm, u64 addr, unsigned long nr, unsigned int flags, struct page **pages);
/** Drops what get_user_pages gave. @dirty: the holder wrote. */
void put_user_page(struct page *page, unsigned int flags, bool dirty);

#ifdef __cplusplus
}
#endif
#endif
