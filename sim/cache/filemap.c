/* SPDX-License-Identifier: MIT */
/*
 * Pages in and out of a file's memory, and finding them without a lock.
 *
 * A lookup against a removal, step by step:
 *
 *	reader (RCU only)			remover (page lock, xa_lock)
 *	1 load the slot: page P			a freeze P's references, or not
 *	2 reference, unless zero		b store the slot
 *	3 load the slot again: still P?		c P->mapping = NULL
 *	  no: drop, start over			d drop the cache's references
 *
 * Reference counts never lie to 2 and 3: if 2 succeeds before a freeze, the freeze fails; if it succeeds after d, P is
 * somebody else's page by then and 3 sees another slot; if 3 still sees P, the reference was taken while P was in the
 * cache. What is left is that P is removed after 3: who needs it in the cache locks it and looks at P->mapping.
 */
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rcu.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

struct page *ps_page_source_alloc(const struct ps_page_source *source, struct address_space *mapping, pgoff_t index,
				  unsigned int order, gfp_t gfp)
{
	if (source && source->alloc)
		return source->alloc(source->arg, mapping, index, order, gfp);
	return alloc_pages(order ? gfp | __GFP_COMP : gfp, order);
}

/* ---- which file a page belongs to ---- */

struct address_space *page_mapping(struct page *page)
{
	struct address_space *mapping;

	page = compound_head(page);
	if (PageSlab(page))
		return NULL;
	if (unlikely(PageSwapCache(page)))
		return swap_address_space(page_swap_entry(page));
	mapping = READ_ONCE(page->mapping);
	if ((unsigned long)mapping & PAGE_MAPPING_FLAGS)
		return NULL;
	return mapping;
}

pgoff_t page_to_pgoff(struct page *page)
{
	struct page *head = compound_head(page);

	return READ_ONCE(head->index) + (pgoff_t)(page - head);
}

struct page *find_subpage(struct page *head, pgoff_t index)
{
	return head + (index & (compound_nr(head) - 1));
}

/* ---- put in ---- */

int __add_to_page_cache_locked(struct page *page, struct address_space *mapping, pgoff_t index, gfp_t gfp)
{
	const unsigned int order = compound_order(page);
	const long nr = (long)compound_nr(page);
	const nid_t nid = page_to_nid(page);
	XA_STATE_ORDER(xas, &mapping->i_pages, index, order);
	void *entry, *old;
	int old_order;

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(PageSwapBacked(page), page);
	VM_BUG_ON_PAGE(index & (nr - 1), page);

	page_ref_add(page, (int)nr);
	WRITE_ONCE(page->mapping, mapping);
	WRITE_ONCE(page->index, index);
	do {
		/* A shadow value wider than the page is split first, so that what it says of the rest stays. */
		old_order = xa_get_order(&mapping->i_pages, index);
		if (old_order > (int)order)
			xas_split_alloc(&xas, xa_load(&mapping->i_pages, index), (unsigned int)old_order, gfp);
		xas_lock(&xas);
		old = NULL;
		xas_for_each_conflict(&xas, entry)
		{
			old = entry;
			if (!xa_is_value(entry)) {
				xas_set_err(&xas, -EEXIST);
				goto out_unlock;
			}
		}
		if (old) {
			old_order = xa_get_order(&mapping->i_pages, index);
			if (old_order > (int)order)
				xas_split(&xas, old, (unsigned int)old_order);
		}
		xas_store(&xas, page);
		if (xas_error(&xas))
			goto out_unlock;
		WRITE_ONCE(mapping->nrpages, mapping->nrpages + (unsigned long)nr);
		__mod_node_page_state(nid, NR_FILE_PAGES, nr);
		if (order && order == HPAGE_PMD_ORDER)
			__mod_node_page_state(nid, NR_FILE_THPS, nr);
	out_unlock:
		xas_unlock(&xas);
	} while (xas_nomem(&xas, gfp));

	if (!xas_error(&xas))
		return 0;
	WRITE_ONCE(page->mapping, NULL);
	put_page_refs(page, (int)nr);
	return xas_error(&xas);
}

int add_to_page_cache_lru(struct page *page, struct address_space *mapping, pgoff_t index, gfp_t gfp)
{
	bool locked = trylock_page(page);
	int err;

	VM_BUG_ON_PAGE(!locked, page);
	err = __add_to_page_cache_locked(page, mapping, index, gfp);
	if (err) {
		unlock_page(page);
		return err;
	}
	lru_cache_add(page);
	return 0;
}

/* ---- take out ---- */

/* The counters of a page that leaves. */
static void unaccount_page_cache_page(struct address_space *mapping, struct page *page)
{
	const long nr = (long)compound_nr(page);
	const nid_t nid = page_to_nid(page);
	const bool huge = compound_order(page) && compound_order(page) == HPAGE_PMD_ORDER;

	VM_BUG_ON_PAGE(page_mapped(page), page);
	__mod_node_page_state(nid, NR_FILE_PAGES, -nr);
	if (PageSwapBacked(page)) {
		__mod_node_page_state(nid, NR_SHMEM, -nr);
		if (huge)
			__mod_node_page_state(nid, NR_SHMEM_THPS, -nr);
	} else if (huge) {
		__mod_node_page_state(nid, NR_FILE_THPS, -nr);
	}
	if (mapping_can_writeback(mapping) && WARN_ON_ONCE(PageDirty(page)))
		account_page_cleaned(page, mapping);
}

void __delete_from_page_cache(struct page *page, void *shadow)
{
	struct address_space *mapping = page->mapping;
	XA_STATE_ORDER(xas, &mapping->i_pages, page->index, compound_order(page));

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(PageTail(page), page);
	unaccount_page_cache_page(mapping, page);

	xas_store(&xas, shadow);
	xas_init_marks(&xas);
	/* The index stays: who found the page under its lock may still ask where it was. */
	WRITE_ONCE(page->mapping, NULL);
	WRITE_ONCE(mapping->nrpages, mapping->nrpages - compound_nr(page));
}

void filemap_free_page(struct address_space *mapping, struct page *page)
{
	if (mapping->a_ops->free_page)
		mapping->a_ops->free_page(page);
	put_page_refs(page, (int)compound_nr(page));
}

void delete_from_page_cache(struct page *page)
{
	struct address_space *mapping = page->mapping;

	BUG_ON(!PageLocked(page));
	xa_lock(&mapping->i_pages);
	__delete_from_page_cache(page, NULL);
	xa_unlock(&mapping->i_pages);
	filemap_free_page(mapping, page);
}

void replace_page_cache_page(struct page *old, struct page *newpage)
{
	struct address_space *mapping = old->mapping;
	const pgoff_t index = old->index;
	XA_STATE(xas, &mapping->i_pages, index);

	VM_BUG_ON_PAGE(!PageLocked(old), old);
	VM_BUG_ON_PAGE(!PageLocked(newpage), newpage);
	VM_BUG_ON_PAGE(newpage->mapping != NULL, newpage);
	VM_BUG_ON_PAGE(PageCompound(old) || PageCompound(newpage), old);

	get_page(newpage);
	WRITE_ONCE(newpage->mapping, mapping);
	WRITE_ONCE(newpage->index, index);
	xas_lock(&xas);
	xas_store(&xas, newpage);
	WRITE_ONCE(old->mapping, NULL);
	__dec_node_page_state(page_to_nid(old), NR_FILE_PAGES);
	__inc_node_page_state(page_to_nid(newpage), NR_FILE_PAGES);
	if (PageSwapBacked(old))
		__dec_node_page_state(page_to_nid(old), NR_SHMEM);
	if (PageSwapBacked(newpage))
		__inc_node_page_state(page_to_nid(newpage), NR_SHMEM);
	xas_unlock(&xas);
	if (mapping->a_ops->free_page)
		mapping->a_ops->free_page(old);
	put_page(old);
}

long remove_mapping(struct address_space *mapping, struct page *page)
{
	const int nr = (int)compound_nr(page);

	BUG_ON(!PageLocked(page));
	BUG_ON(mapping != page_mapping(page));

	xa_lock(&mapping->i_pages);
	/*
	 * The freeze comes before the look at PG_dirty: who dirties the page holds a reference while he does, and
	 * drops it afterwards. The other order would miss a page dirtied and put between look and freeze.
	 */
	if (!page_ref_freeze(page, 1 + nr))
		goto out_busy;
	if (unlikely(PageDirty(page))) {
		page_ref_unfreeze(page, 1 + nr);
		goto out_busy;
	}
	if (PageSwapCache(page)) {
		swp_entry_t entry = page_swap_entry(page);

		__delete_from_swap_cache(page, entry);
		xa_unlock(&mapping->i_pages);
		put_swap_page(page, entry);
	} else {
		__delete_from_page_cache(page, NULL);
		xa_unlock(&mapping->i_pages);
		if (mapping->a_ops->free_page)
			mapping->a_ops->free_page(page);
	}
	page_ref_unfreeze(page, 1);
	return nr;

out_busy:
	xa_unlock(&mapping->i_pages);
	return 0;
}

/* ---- find ---- */

void *mapping_get_entry(struct address_space *mapping, pgoff_t index)
{
	XA_STATE(xas, &mapping->i_pages, index);
	struct page *page;
	void *entry;

	rcu_read_lock();
repeat:
	xas_reset(&xas);
	entry = xas_load(&xas);
	if (xas_retry(&xas, entry))
		goto repeat;
	if (!entry || xa_is_value(entry))
		goto out;
	page = (struct page *)entry;
	if (!get_page_unless_zero(page)) {
		cpu_relax(); /* frozen by who moves or removes it: he has to go on first */
		goto repeat;
	}
	if (unlikely(entry != xas_reload(&xas))) {
		put_page(page);
		goto repeat;
	}
out:
	rcu_read_unlock();
	return entry;
}

struct page *pagecache_get_page(struct address_space *mapping, pgoff_t index, int fgp_flags, gfp_t gfp,
				const struct ps_page_source *source)
{
	struct page *page;
	void *entry;
	int err;

repeat:
	entry = mapping_get_entry(mapping, index);
	if (xa_is_value(entry)) {
		if (fgp_flags & FGP_ENTRY)
			return (struct page *)entry;
		entry = NULL;
	}
	page = (struct page *)entry;
	if (!page)
		goto no_page;

	if (fgp_flags & FGP_LOCK) {
		if (fgp_flags & FGP_NOWAIT) {
			if (!trylock_page(page)) {
				put_page(page);
				return NULL;
			}
		} else if (fgp_flags & FGP_NESTED) {
			lock_page_nested(page);
		} else {
			lock_page(page);
		}
		/* Removed, or moved elsewhere, while the lock was waited for? */
		if (unlikely(READ_ONCE(page->mapping) != mapping)) {
			unlock_page(page);
			put_page(page);
			goto repeat;
		}
		VM_BUG_ON_PAGE(index < page->index || index - page->index >= compound_nr(page), page);
	}
	if (fgp_flags & FGP_ACCESSED)
		mark_page_accessed(page);
	else if ((fgp_flags & FGP_WRITE) && PageIdle(page))
		ClearPageIdle(page);

no_page:
	if (!page && (fgp_flags & FGP_CREAT)) {
		page = ps_page_source_alloc(source, mapping, index, 0, gfp);
		if (!page)
			return NULL;
		if (fgp_flags & FGP_ACCESSED)
			__SetPageReferenced(page);
		err = add_to_page_cache_lru(page, mapping, index, gfp);
		if (err) {
			put_page(page);
			page = NULL;
			if (err == -EEXIST)
				goto repeat;
		} else if (!(fgp_flags & FGP_LOCK)) {
			unlock_page(page);
		}
	}
	if (!page || (fgp_flags & FGP_HEAD))
		return page;
	return find_subpage(page, index);
}

/* The next page of a walk, with a reference; @mark: XA_PRESENT or a tag. */
static struct page *find_get_next(struct xa_state *xas, pgoff_t max, xa_mark_t mark, void **ret_value)
{
	struct page *page;
	void *entry;

	for (;;) {
		entry = mark == XA_PRESENT ? xas_find(xas, max) : xas_find_marked(xas, max, mark);
		if (xas_retry(xas, entry))
			continue;
		if (!entry)
			return NULL;
		if (xa_is_value(entry)) {
			if (!ret_value)
				continue;
			*ret_value = entry;
			return NULL;
		}
		page = (struct page *)entry;
		if (get_page_unless_zero(page)) {
			if (likely(entry == xas_reload(xas)))
				return page;
			put_page(page);
		} else {
			cpu_relax();
		}
		xas_reset(xas);
	}
}

static unsigned int find_get_pages_mark(struct address_space *mapping, pgoff_t *startp, pgoff_t end, xa_mark_t mark,
					unsigned int n, struct page **ret_pages)
{
	XA_STATE(xas, &mapping->i_pages, *startp);
	unsigned int got = 0;
	struct page *page;

	if (*startp > end || !n)
		return 0;
	rcu_read_lock();
	while ((page = find_get_next(&xas, end, mark, NULL))) {
		ret_pages[got++] = page;
		if (got == n)
			break;
	}
	rcu_read_unlock();
	if (got == n) {
		page = ret_pages[got - 1];
		*startp = READ_ONCE(page->index) + compound_nr(page);
	} else {
		*startp = end == (pgoff_t)-1 ? end : end + 1;
	}
	return got;
}

unsigned int find_get_pages_range(struct address_space *mapping, pgoff_t *startp, pgoff_t end, unsigned int n,
				  struct page **ret_pages)
{
	return find_get_pages_mark(mapping, startp, end, XA_PRESENT, n, ret_pages);
}

unsigned int find_get_pages_range_tag(struct address_space *mapping, pgoff_t *startp, pgoff_t end, xa_mark_t tag,
				      unsigned int n, struct page **ret_pages)
{
	return find_get_pages_mark(mapping, startp, end, tag, n, ret_pages);
}

unsigned int find_get_entries(struct address_space *mapping, pgoff_t start, pgoff_t end, unsigned int n,
			      void **ret_entries, pgoff_t *ret_indices)
{
	XA_STATE(xas, &mapping->i_pages, start);
	unsigned int got = 0;

	rcu_read_lock();
	while (got < n) {
		void *value = NULL;
		struct page *page = find_get_next(&xas, end, XA_PRESENT, &value);

		if (!page && !value)
			break;
		ret_entries[got] = page ? (void *)page : value;
		ret_indices[got++] = xas.xa_index;
	}
	rcu_read_unlock();
	return got;
}

bool filemap_range_has_page(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	XA_STATE(xas, &mapping->i_pages, start);
	void *entry;

	if (end < start)
		return false;
	rcu_read_lock();
	do {
		entry = xas_find(&xas, end);
	} while (xas_retry(&xas, entry) || xa_is_value(entry));
	rcu_read_unlock();
	return entry != NULL;
}

/* ---- reading ---- */

/* Has the file's own function fill a locked page, and waits for it. Unlocks. */
static int filemap_read_page(struct address_space *mapping, struct page *page)
{
	int err;

	if (mapping->a_ops->read_page) {
		err = mapping->a_ops->read_page(mapping->host, page);
		if (err)
			return err;
		wait_on_page_locked(page);
		return PageUptodate(page) ? 0 : -EIO;
	}
	clear_huge_page(page, compound_nr(page));
	SetPageUptodate(page);
	unlock_page(page);
	return 0;
}

int filemap_fault(struct inode *inode, pgoff_t index, const struct ps_page_source *source, struct page **ret_page,
		  bool *ret_major)
{
	struct address_space *mapping = inode->i_mapping;
	bool invalidate_locked = false, major = false;
	struct page *page;
	int err = 0;

	if (index >= i_size_pages(inode))
		return -EFAULT;
	page = pagecache_get_page(mapping, index, FGP_HEAD, 0, NULL);
	if (!page) {
		count_vm_event(PGMAJFAULT);
		major = true;
	} else if (unlikely(!PageUptodate(page))) {
		filemap_invalidate_lock_shared(mapping);
		invalidate_locked = true;
	}
	for (;; page = NULL) {
		/* Against truncation: no page is added, and none is read, without the invalidate lock. */
		if (!page) {
			if (!invalidate_locked)
				filemap_invalidate_lock_shared(mapping);
			invalidate_locked = true;
			page = pagecache_get_page(mapping, index, FGP_HEAD | FGP_CREAT, mapping->gfp_mask, source);
			if (!page) {
				err = -ENOMEM;
				break;
			}
		}
		lock_page(page);
		if (unlikely(READ_ONCE(page->mapping) != mapping)) {
			unlock_page(page);
			put_page(page);
			continue;
		}
		if (likely(PageUptodate(page)))
			break;
		if (!invalidate_locked) {
			/* It was uptodate when it was found; look again under the lock. */
			unlock_page(page);
			put_page(page);
			continue;
		}
		err = filemap_read_page(mapping, page);
		put_page(page);
		if (err)
			break;
	}
	if (invalidate_locked)
		filemap_invalidate_unlock_shared(mapping);
	if (err)
		return err;
	/* The size may have shrunk: truncation sets it before it looks for pages. */
	if (unlikely(index >= i_size_pages(inode))) {
		unlock_page(page);
		put_page(page);
		return -EFAULT;
	}
	*ret_page = find_subpage(page, index);
	if (ret_major)
		*ret_major = major;
	return 0;
}

struct page *next_uptodate_page(struct address_space *mapping, pgoff_t *indexp, pgoff_t end)
{
	XA_STATE(xas, &mapping->i_pages, *indexp);
	struct page *page = NULL;
	void *entry;

	if (*indexp > end)
		return NULL;
	rcu_read_lock();
	while ((entry = xas_find(&xas, end))) {
		if (xas_retry(&xas, entry) || xa_is_value(entry))
			continue;
		page = (struct page *)entry;
		if (PageLocked(page) || !get_page_unless_zero(page))
			continue;
		if (unlikely(entry != xas_reload(&xas)))
			goto skip;
		if (!PageUptodate(page) || !trylock_page(page))
			goto skip;
		if (page->mapping == mapping && PageUptodate(page) && xas.xa_index < i_size_pages(mapping->host))
			break;
		unlock_page(page);
	skip:
		put_page(page);
	}
	rcu_read_unlock();
	if (!entry)
		return NULL;
	*indexp = xas.xa_index + 1;
	return find_subpage(page, xas.xa_index);
}
