/* SPDX-License-Identifier: MIT */
/*
 * Isolating, moving and putting back pages by the word of their owner; see movable.h.
 *
 * The isolator comes with nothing but a frame number, so every step of isolate_movable_page() looks again at what the
 * one before could not hold still:
 *   1. reference unless zero      the frame cannot be freed any more; whose it is we do not know
 *   2. __PageMovable              cheap look: most frames are something else, and a stray page lock would disturb those
 *   3. trylock_page               the mark stands still
 *   4. PageMovable, !PageIsolated for sure
 *   5. ops->isolate_page          the owner agrees
 *   6. PG_isolated                others stay away
 */
#include <pagesim/movable.h>

#include <pagesim/bug.h>
#include <pagesim/mem.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>

void __SetPageMovable(struct page *page, const struct movable_operations *ops)
{
	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE((unsigned long)ops & PAGE_MAPPING_MOVABLE, page);
	WRITE_ONCE(page->mapping, (struct address_space *)((unsigned long)ops | PAGE_MAPPING_MOVABLE));
}

void __ClearPageMovable(struct page *page)
{
	VM_BUG_ON_PAGE(!PageMovable(page), page);
	WRITE_ONCE(page->mapping, (struct address_space *)PAGE_MAPPING_MOVABLE);
}

int isolate_movable_page(struct page *page)
{
	if (!get_page_unless_zero(page))
		return -EBUSY;
	if (unlikely(PageSlab(page)) || unlikely(!__PageMovable(page)))
		goto out_put;
	if (!trylock_page(page))
		goto out_put;
	if (!PageMovable(page) || PageIsolated(page))
		goto out_unlock;
	if (!page_movable_ops(page)->isolate_page(page))
		goto out_unlock;
	WARN_ON_ONCE(PageIsolated(page));
	SetPageIsolated(page);
	unlock_page(page);
	return 0;

out_unlock:
	unlock_page(page);
out_put:
	put_page(page);
	return -EBUSY;
}

void putback_movable_page(struct page *page)
{
	VM_BUG_ON_PAGE(!PageIsolated(page), page);
	lock_page(page);
	if (PageMovable(page))
		page_movable_ops(page)->putback_page(page);
	ClearPageIsolated(page);
	unlock_page(page);
	put_page(page);
}

int migrate_movable_page(struct page *dst, struct page *src, enum migrate_mode mode)
{
	int error;

	VM_BUG_ON_PAGE(!PageLocked(dst), dst);
	VM_BUG_ON_PAGE(!PageIsolated(src), src);
	if (PageMovable(src)) {
		error = page_movable_ops(src)->migrate_page(dst, src, mode);
		if (error)
			return error;
	}
	/* Under the page lock, so that nobody takes it for one that can be isolated. */
	ClearPageIsolated(src);
	return 0;
}

void ps_page_owner_register(struct ps_page_owner *owner)
{
	list_add_tail(&owner->list, &this_mem()->owners);
}

void ps_page_owner_unregister(struct ps_page_owner *owner)
{
	list_del(&owner->list);
}
