/* SPDX-License-Identifier: MIT */
/*
 * The parts of waiting for page bits that are not inline.
 */
#include <pagesim/page_lock.h>

void wait_on_page_locked_noref(struct page *page, void (*drop)(void *arg), void *arg)
{
	ps_wait_on_bit_flagged_at(&compound_head(page)->flags, PG_locked, PG_waiters, PAGE_LOCK, drop, arg, PS_HERE);
}

void page_wake_bit(struct page *page, int bit)
{
	wake_up_bit_flagged(&compound_head(page)->flags, bit, PG_waiters);
}
