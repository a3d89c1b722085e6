/* SPDX-License-Identifier: MIT */
/*
 * See quiesce.h.
 */
#include "engines/quiesce.h"

#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/task.h>
#include <pagesim/writeback.h>

static int lock_and_hold(struct quiesce *q, struct page *page, enum migrate_mode mode, bool force, bool second)
{
	*q = (struct quiesce){ .page = page };
	if (!trylock_page(page)) {
		if (!force || mode == MIGRATE_ASYNC)
			return -EAGAIN;
		/* Who reclaims for an allocation may hold page locks itself: it must not wait for one. */
		if (current->flags & PF_MEMALLOC)
			return -EAGAIN;
		if (second)
			lock_page_nested(page);
		else
			lock_page(page);
	}
	if (PageWriteback(page)) {
		/* Only a caller who may wait for devices may wait for this one. */
		if (mode != MIGRATE_SYNC && mode != MIGRATE_SYNC_NO_COPY) {
			q->writeback = true;
			unlock_page(page);
			return -EBUSY;
		}
		if (!force) {
			q->writeback = true;
			unlock_page(page);
			return -EAGAIN;
		}
		wait_on_page_writeback(page);
	}
	quiesce_hold(q, page);
	return 0;
}

int quiesce_lock(struct quiesce *q, struct page *page, enum migrate_mode mode, bool force)
{
	return lock_and_hold(q, page, mode, force, false);
}

int quiesce_lock_second(struct quiesce *q, struct page *page, enum migrate_mode mode, bool force)
{
	return lock_and_hold(q, page, mode, force, true);
}

void quiesce_hold(struct quiesce *q, struct page *page)
{
	/* No hold means that the page is not mapped, and with the lock held nobody can map it again. */
	*q = (struct quiesce){ .page = page, .anon_vma = PageAnon(page) ? page_get_anon_vma(page) : NULL };
}

void quiesce_unmap(struct quiesce *q, struct tlb_batch *batch)
{
	if (!page_mapped(q->page))
		return;
	VM_BUG_ON_PAGE(PageAnon(q->page) && !q->anon_vma, q->page);
	try_to_migrate(q->page, batch ? TTU_BATCH_FLUSH : 0, batch);
	q->was_mapped = true;
}

void quiesce_restore(struct quiesce *q, struct page *to)
{
	if (q->was_mapped)
		remove_migration_ptes(q->page, to, false);
	q->was_mapped = false;
}

void quiesce_unlock(struct quiesce *q)
{
	if (q->anon_vma)
		put_anon_vma(q->anon_vma);
	q->anon_vma = NULL;
	unlock_page(q->page);
}

int quiesce_expected_refs(struct address_space *mapping, struct page *page)
{
	int refs = 1;

	if (mapping)
		refs += (int)compound_nr(page) + (PagePrivate(page) ? 1 : 0);
	return refs;
}
