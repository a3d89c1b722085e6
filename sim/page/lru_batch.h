/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU batches of LRU work: up to PAGEVEC_SIZE pages each, referenced, to be handled under one lru_lock.
 */
#ifndef PS_PAGE_LRU_BATCH_H
#define PS_PAGE_LRU_BATCH_H

#include <pagesim/lru.h>
#include <pagesim/spinlock.h>

enum lru_batch_kind {
	LRU_BATCH_ADD,
	LRU_BATCH_ROTATE,
	LRU_BATCH_DEACTIVATE_FILE,
	LRU_BATCH_DEACTIVATE,
	LRU_BATCH_LAZYFREE,
	LRU_BATCH_ACTIVATE,
	NR_LRU_BATCH_KINDS
};

struct page_batch {
	unsigned int nr;
	struct page *pages[PAGEVEC_SIZE];
};

/** Batches of one CPU. */
struct lru_batches {
	/** Class LRU_BATCH_LOCK, held over the flush: where Linux stays on the CPU (local_lock). */
	spinlock_t lock;
	struct page_batch kind[NR_LRU_BATCH_KINDS];
	/** Pages with a mark in the two low bits, see mlock.c. */
	struct page_batch mlock;
} __attribute__((aligned(64)));

/** What to do to a page whose PG_lru the caller has cleared. **Context:** lru_lock. */
typedef void (*lru_move_fn)(struct lruvec *lruvec, struct page *page);

/** **Return:** NULL without memory. */
struct lru_batches *lru_batches_new(unsigned int nr_cpus);
void lru_batches_free(struct lru_batches *batches);

static inline struct lru_batches *this_cpu_batches(void)
{
	return &ps_current->machine->mem->batches[ps_current->cpu];
}

/** Lock the lruvec of `page`, unlocking `locked` (NULL: none) if it is another. **Return:** the one now locked. */
static inline struct lruvec *page_lruvec_relock(struct page *page, struct lruvec *locked)
{
	struct lruvec *lruvec = page_lruvec(page);

	if (lruvec == locked)
		return locked;
	if (locked)
		spin_unlock(&locked->lru_lock);
	spin_lock(&lruvec->lru_lock);
	return lruvec;
}

#endif
