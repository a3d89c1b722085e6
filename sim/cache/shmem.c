/* SPDX-License-Identifier: MIT */
/*
 * shmem: getting the page of a tmpfs file or of shared anonymous memory, small or huge, and its way to swap and back.
 *
 *	find ──found, uptodate──▶ done
 *	  │   └─a swap entry──▶ shmem_swapin_page ──▶ done
 *	  │ nothing there
 *	  ▼
 *	huge wanted? ──yes──▶ aligned range empty? ──yes──▶ allocate 2^n ──▶ add ──▶ zero ──▶ done
 *	  │ no                  │ no                          │ none free       │ somebody was first
 *	  ▼                     ▼                             ▼ FILE_FALLBACK   ▼
 *	allocate one ◀──────────┴─────────────────────────────┘                find again
 *
 * Adding takes one reference per small page and makes one multi-index entry.
 *
 * To swap (shmem_writepage; the page is locked, unmapped, clean for writing): it enters the swap cache; the entry takes
 * its place in the index, and with it the slot's use; it is written; reclaim takes it out of the swap cache. Back
 * (shmem_swapin_page): the page is found in, or read into, the swap cache; it takes the entry's place; it leaves the
 * swap cache, dirty; the slot is freed. In between a page may be in both caches, but then it is locked.
 *
 * The size is looked at twice: before anything, and after the page was added, because truncation may have come between;
 * who adds a page beyond the end takes it out again.
 *
 * Files whose last huge page reached beyond their end when it was made are on a list; a shrinker splits those pages, and what
 * lies beyond the end goes.
 *
 * What Linux does differently: there is no quota of blocks, no seal, no userfaultfd, and no list of the files that have
 * something in swap: swapoff asks all of them. The shrinker's objects share its calls with the file system's cached names
 * and inodes, which are not modelled.
 */
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/gfp.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/rcu.h>
#include <pagesim/shmem.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

static int shmem_writepage(struct page *page, struct writeback_control *wbc);

const struct address_space_operations shmem_aops = {
	.name = "shmem",
	.has_writeback = false,
	.migrate_kind = MIGRATE_KIND_PLAIN,
	.writepage = shmem_writepage,
	.dirty_page = noop_dirty_page,
};

bool shmem_mapping(const struct address_space *mapping)
{
	return mapping->a_ops == &shmem_aops;
}

bool shmem_is_anon(const struct inode *inode)
{
	return inode->anon;
}

bool shmem_is_huge(const struct inode *inode, pgoff_t index, enum shmem_huge_hint hint)
{
	const struct ps_files *files = inode->files;
	enum shmem_huge huge = shmem_is_anon(inode) ? files->shmem_enabled : files->tmpfs_huge;
	const pgoff_t pages = HPAGE_PMD_NR;

	if (hint == SHMEM_HINT_NOHUGEPAGE || files->shmem_enabled == SHMEM_HUGE_DENY)
		return false;
	if (files->shmem_enabled == SHMEM_HUGE_FORCE)
		return true;
	switch (huge) {
	case SHMEM_HUGE_ALWAYS:
		return true;
	case SHMEM_HUGE_WITHIN_SIZE:
		if (i_size_pages(inode) >= (index + pages) / pages * pages)
			return true;
		return hint == SHMEM_HINT_HUGEPAGE;
	case SHMEM_HUGE_ADVISE:
		return hint == SHMEM_HINT_HUGEPAGE;
	default:
		return false;
	}
}

int shmem_add_to_page_cache(struct page *page, struct address_space *mapping, pgoff_t index, void *expected, gfp_t gfp)
{
	const unsigned int order = compound_order(page);
	const long nr = (long)compound_nr(page);
	const nid_t nid = page_to_nid(page);
	XA_STATE_ORDER(xas, &mapping->i_pages, index, order);
	void *entry;

	VM_BUG_ON_PAGE(PageTail(page), page);
	VM_BUG_ON_PAGE(index & (nr - 1), page);
	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(!PageSwapBacked(page), page);

	page_ref_add(page, (int)nr);
	WRITE_ONCE(page->mapping, mapping);
	WRITE_ONCE(page->index, index);
	do {
		xas_lock(&xas);
		/* Nothing but what the caller expects may be in the way, and that must be there, once. */
		entry = xas_find_conflict(&xas);
		if (entry != expected || (entry && xas_find_conflict(&xas))) {
			xas_set_err(&xas, -EEXIST);
			goto out_unlock;
		}
		xas_reset(&xas);
		xas_store(&xas, page);
		if (xas_error(&xas))
			goto out_unlock;
		if (order && order == HPAGE_PMD_ORDER) {
			count_vm_event(THP_FILE_ALLOC);
			__mod_node_page_state(nid, NR_SHMEM_THPS, nr);
		}
		WRITE_ONCE(mapping->nrpages, mapping->nrpages + (unsigned long)nr);
		__mod_node_page_state(nid, NR_FILE_PAGES, nr);
		__mod_node_page_state(nid, NR_SHMEM, nr);
	out_unlock:
		xas_unlock(&xas);
	} while (xas_nomem(&xas, gfp));

	if (!xas_error(&xas))
		return 0;
	WRITE_ONCE(page->mapping, NULL);
	page_ref_sub(page, (int)nr);
	return xas_error(&xas);
}

/* ---- swap ---- */

/* The entry takes the page's place in the index; the cache's reference goes. */
static void shmem_delete_from_page_cache(struct page *page, void *swap)
{
	struct address_space *mapping = page->mapping;
	void *old;

	xa_lock(&mapping->i_pages);
	old = __xa_store(&mapping->i_pages, page->index, swap, 0);
	VM_BUG_ON_PAGE(old != page, page);
	WRITE_ONCE(page->mapping, NULL);
	WRITE_ONCE(mapping->nrpages, mapping->nrpages - 1);
	__dec_node_page_state(page_to_nid(page), NR_FILE_PAGES);
	__dec_node_page_state(page_to_nid(page), NR_SHMEM);
	xa_unlock(&mapping->i_pages);
	put_page(page);
}

static int shmem_writepage(struct page *page, struct writeback_control *wbc)
{
	struct inode *inode = page->mapping->host;
	const struct ps_cache_hooks *hooks = &inode->files->hooks;
	swp_entry_t entry;

	if (PageTransHuge(page)) {
		/* It is written in pieces, and all of them must be dirty for that. */
		SetPageDirty(page);
		if (!hooks->split_page || hooks->split_page(page))
			goto redirty;
		ClearPageDirty(page);
	}
	if (!total_swap_pages() || WARN_ON_ONCE(!wbc->for_reclaim))
		goto redirty;
	if (!PageUptodate(page)) {
		/* Allocated by fallocate, never written. */
		clear_highpage(page);
		SetPageUptodate(page);
	}
	entry = get_swap_page(page);
	if (!entry.val)
		goto redirty;
	if (add_to_swap_cache(page, entry, __GFP_HIGH | __GFP_NOMEMALLOC | __GFP_NOWARN)) {
		put_swap_page(page, entry);
		goto redirty;
	}
	atomic_long_inc(&inode->swapped);
	swap_shmem_alloc(entry);
	shmem_delete_from_page_cache(page, swp_to_radix_entry(entry));
	VM_BUG_ON_PAGE(page_mapped(page), page);
	return swap_writepage(page, wbc);

redirty:
	set_page_dirty(page);
	return AOP_WRITEPAGE_ACTIVATE;
}

struct shmem_swap_alloc {
	struct address_space *mapping;
	pgoff_t index;
	const struct ps_page_source *source;
};

static struct page *shmem_swap_alloc(void *arg, gfp_t gfp)
{
	const struct shmem_swap_alloc *a = (const struct shmem_swap_alloc *)arg;

	return ps_page_source_alloc(a->source, a->mapping, a->index, 0, gfp);
}

/*
 * The page of a swap entry found at @index. Return: 0 and *ret_page, locked, referenced, dirty, in the page cache and not
 * in the swap cache; -EEXIST: somebody else was at it, look again; -ENOMEM.
 */
static int shmem_swapin_page(struct inode *inode, pgoff_t index, swp_entry_t entry, enum sgp_type sgp,
			     const struct ps_page_source *source, struct page **ret_page)
{
	struct address_space *mapping = inode->i_mapping;
	struct shmem_swap_alloc alloc = { .mapping = mapping, .index = index, .source = source };
	void *value = swp_to_radix_entry(entry);
	struct page *page;
	int err;

	if (!get_swap_device(entry))
		return -EEXIST; /* it came back, or swapoff could not have gone on */
	page = lookup_swap_cache(entry);
	if (!page) {
		if (sgp == SGP_CACHE)
			count_vm_event(PGMAJFAULT);
		page = read_swap_cache_async(entry, mapping->gfp_mask, shmem_swap_alloc, &alloc);
		if (!page) {
			err = xa_load(&mapping->i_pages, index) == value ? -ENOMEM : -EEXIST;
			goto out;
		}
	}
	/* As for a page of the cache: who collapses the file holds the lock of the page that takes this one's place. */
	if (sgp == SGP_NOALLOC)
		lock_page_nested(page);
	else
		lock_page(page);
	err = -EEXIST;
	if (!PageSwapCache(page) || page_swap_entry(page).val != entry.val ||
	    xa_load(&mapping->i_pages, index) != value)
		goto out_unlock;
	wait_on_page_writeback(page);
	err = shmem_add_to_page_cache(page, mapping, index, value, mapping->gfp_mask);
	if (err)
		goto out_unlock;
	atomic_long_dec(&inode->swapped);
	if (sgp == SGP_WRITE)
		mark_page_accessed(page);
	delete_from_swap_cache(page);
	set_page_dirty(page);
	swap_free(entry);
	put_swap_device();
	*ret_page = page;
	return 0;

out_unlock:
	unlock_page(page);
	put_page(page);
out:
	put_swap_device();
	return err;
}

bool shmem_free_swap(struct inode *inode, pgoff_t index, void *value)
{
	if (xa_cmpxchg(&inode->i_mapping->i_pages, index, value, NULL, 0) != value)
		return false;
	free_swap_and_cache(radix_to_swp_entry(value));
	atomic_long_dec(&inode->swapped);
	return true;
}

u64 shmem_partial_swap_usage(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	unsigned long index;
	void *entry;
	u64 pages = 0;

	if (end <= start)
		return 0;
	xa_for_each_range(&mapping->i_pages, index, entry, start, end - 1) pages += xa_is_value(entry);
	return pages;
}

int shmem_unuse(struct inode *inode, const struct ps_page_source *source)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long index;
	struct page *page;
	void *entry;
	int err;

	xa_for_each(&mapping->i_pages, index, entry) {
		if (!xa_is_value(entry))
			continue;
		err = shmem_swapin_page(inode, index, radix_to_swp_entry(entry), SGP_NOALLOC, source, &page);
		if (err == -EEXIST)
			continue;
		if (err)
			return err;
		unlock_page(page);
		put_page(page);
	}
	return 0;
}

void shmem_swapin_readahead(struct inode *inode, pgoff_t start, pgoff_t end, swap_alloc_t alloc, void *arg)
{
	unsigned long index;
	void *entry;

	if (end <= start)
		return;
	xa_for_each_range(&inode->i_mapping->i_pages, index, entry, start, end - 1)
	{
		struct page *page;
		swp_entry_t swap;

		if (!xa_is_value(entry))
			continue;
		swap = radix_to_swp_entry(entry);
		if (!get_swap_device(swap))
			continue;
		page = read_swap_cache_async(swap, GFP_HIGHUSER_MOVABLE, alloc, arg);
		put_swap_device();
		if (page)
			put_page(page);
	}
	lru_add_drain();
}

/* ---- getting a page ---- */

/* A new page, locked and swap-backed. Return: NULL if there is none. */
static struct page *shmem_alloc_page(struct inode *inode, pgoff_t index, unsigned int order, enum shmem_huge_hint hint,
				     const struct ps_page_source *source)
{
	struct address_space *mapping = inode->i_mapping;
	gfp_t gfp = mapping->gfp_mask;
	struct page *page;
	bool locked;

	if (order) {
		unsigned long first = index;

		/* One small page in the range is reason enough not to; no huge page was missed for want of memory. */
		if (xa_find(&mapping->i_pages, &first, index + (1UL << order) - 1, XA_PRESENT))
			return NULL;
		gfp = hint == SHMEM_HINT_HUGEPAGE ? GFP_TRANSHUGE : GFP_TRANSHUGE_LIGHT;
	}
	page = ps_page_source_alloc(source, mapping, index, order, gfp);
	if (!page) {
		if (order)
			count_vm_event(THP_FILE_FALLBACK);
		return NULL;
	}
	if (order >= 2)
		prep_transhuge_page(page);
	locked = trylock_page(page);
	VM_BUG_ON_PAGE(!locked, page);
	__SetPageSwapBacked(page);
	return page;
}

/* ---- huge pages that reach beyond the end of their file ---- */

static struct shmem_sb *shmem_sb_of(struct inode *inode)
{
	return inode->anon ? &inode->files->anon : &inode->files->tmpfs;
}

/* Context: the page was just added, and is locked. */
static void note_shrinkable(struct inode *inode, struct page *page)
{
	struct shmem_sb *sb = shmem_sb_of(inode);

	if (!PageHead(page) || i_size_pages(inode) >= page->index + compound_nr(page) - 1)
		return;
	spin_lock(&sb->shrinklist_lock);
	if (list_empty(&inode->shrinklist)) {
		list_add_tail(&inode->shrinklist, &sb->shrinklist);
		WRITE_ONCE(sb->shrinklist_len, sb->shrinklist_len + 1);
	}
	spin_unlock(&sb->shrinklist_lock);
}

void shmem_forget_shrinkable(struct inode *inode)
{
	struct shmem_sb *sb = shmem_sb_of(inode);

	spin_lock(&sb->shrinklist_lock);
	if (!list_empty(&inode->shrinklist)) {
		list_del_init(&inode->shrinklist);
		WRITE_ONCE(sb->shrinklist_len, sb->shrinklist_len - 1);
	}
	spin_unlock(&sb->shrinklist_lock);
}

/*
 * Takes up to nr inodes off the list, each with a reference: those with something to gain to `list`, the others to `done`.
 */
static void take_shrinkable(struct shmem_sb *sb, unsigned long nr, struct list_head *list, struct list_head *done)
{
	struct inode *inode, *next;

	spin_lock(&sb->shrinklist_lock);
	list_for_each_entry_safe(inode, next, &sb->shrinklist, shrinklist) {
		if (!atomic_inc_not_zero(&inode->i_count))
			list_del_init(&inode->shrinklist); /* about to be evicted */
		else
			list_move(&inode->shrinklist, i_size_pages(inode) % HPAGE_PMD_NR ? list : done);
		WRITE_ONCE(sb->shrinklist_len, sb->shrinklist_len - 1);
		if (!--nr)
			break;
	}
	spin_unlock(&sb->shrinklist_lock);
}

/* Splits the huge page across the inode's end. Return: 0; -ENOENT: there is none; -EAGAIN: not now. */
static int split_last_page(struct inode *inode)
{
	const struct ps_cache_hooks *hooks = &inode->files->hooks;
	pgoff_t index = i_size_read(inode) >> PAGE_SHIFT >> HPAGE_PMD_ORDER << HPAGE_PMD_ORDER;
	struct page *page = pagecache_get_page(inode->i_mapping, index, FGP_HEAD, 0, NULL);
	int error = -ENOENT;

	if (!page)
		return error;
	if (PageHead(page)) {
		/* Whoever reclaims may hold any lock: it does not wait for this one. */
		error = -EAGAIN;
		if (trylock_page(page)) {
			if (hooks->split_page && !hooks->split_page(page))
				error = 0;
			unlock_page(page);
		}
	}
	put_page(page);
	return error;
}

/* Looks at up to nr files. Return: huge pages split, or SHRINK_STOP. Fidelity: exact, shmem_unused_huge_shrink(). */
static unsigned long shmem_unused_huge_shrink(struct shmem_sb *sb, unsigned long nr)
{
	struct inode *inode, *next;
	unsigned long split = 0;
	LIST_HEAD(list);
	LIST_HEAD(done);

	if (list_empty(&sb->shrinklist))
		return SHRINK_STOP;
	take_shrinkable(sb, nr, &list, &done);
	list_for_each_entry_safe(inode, next, &done, shrinklist) {
		list_del_init(&inode->shrinklist);
		iput(inode);
	}
	list_for_each_entry_safe(inode, next, &list, shrinklist) {
		int error = split_last_page(inode);

		split += !error;
		if (error == -EAGAIN) {
			/* Back before the reference goes: the inode must not die on our list. */
			spin_lock(&sb->shrinklist_lock);
			list_move(&inode->shrinklist, &sb->shrinklist);
			WRITE_ONCE(sb->shrinklist_len, sb->shrinklist_len + 1);
			spin_unlock(&sb->shrinklist_lock);
		} else {
			list_del_init(&inode->shrinklist);
		}
		iput(inode);
	}
	return split;
}

static unsigned long shmem_sb_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	(void)sc;
	return READ_ONCE(container_of(shrinker, struct shmem_sb, shrinker)->shrinklist_len);
}

/* As the file system's: its share of the objects asked for, and one more. */
static unsigned long shmem_sb_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct shmem_sb *sb = container_of(shrinker, struct shmem_sb, shrinker);
	unsigned long objects = READ_ONCE(sb->shrinklist_len), ret = 0;

	if (!(sc->gfp_mask & __GFP_FS))
		return SHRINK_STOP;
	objects = sc->nr_to_scan * objects / (objects + 1);
	if (objects)
		ret = shmem_unused_huge_shrink(sb, objects + 1);
	return ret == SHRINK_STOP ? 0 : ret;
}

void shmem_sb_init(struct shmem_sb *sb, const char *name)
{
	spin_lock_init(&sb->shrinklist_lock, LEAF_LOCK);
	INIT_LIST_HEAD(&sb->shrinklist);
	sb->shrinker.count_objects = shmem_sb_count;
	sb->shrinker.scan_objects = shmem_sb_scan;
	sb->shrinker.seeks = DEFAULT_SEEKS;
	sb->shrinker.batch = 1024;
	sb->shrinker.flags = SHRINKER_NUMA_AWARE;
	register_shrinker(&sb->shrinker, name);
}

void shmem_sb_destroy(struct shmem_sb *sb)
{
	unregister_shrinker(&sb->shrinker);
}

int shmem_get_page(struct inode *inode, pgoff_t index, enum sgp_type sgp, enum shmem_huge_hint hint,
		   const struct ps_page_source *source, struct page **ret_page)
{
	struct address_space *mapping = inode->i_mapping;
	const unsigned int huge_order = HPAGE_PMD_ORDER;
	struct page *page;
	pgoff_t first;
	bool added;
	int err;

repeat:
	added = false;
	if (sgp <= SGP_CACHE && index >= i_size_pages(inode))
		return -EINVAL;
	/* Who only wants what is there may be collapsing the file, and holds the lock of the page that takes its place. */
	page = pagecache_get_page(mapping, index,
				  FGP_LOCK | FGP_HEAD | FGP_ENTRY | (sgp == SGP_NOALLOC ? FGP_NESTED : 0), 0, NULL);
	if (xa_is_value(page)) {
		err = shmem_swapin_page(inode, index, radix_to_swp_entry(page), sgp, source, ret_page);
		if (err == -EEXIST)
			goto repeat;
		return err;
	}
	if (page) {
		if (sgp == SGP_WRITE)
			mark_page_accessed(page);
		if (PageUptodate(page))
			goto out;
		if (sgp != SGP_READ)
			goto clear;
		/* Allocated by fallocate, never written: a hole to a reader. */
		unlock_page(page);
		put_page(page);
	}
	if (sgp == SGP_READ) {
		*ret_page = NULL;
		return 0;
	}
	if (sgp == SGP_NOALLOC)
		return -ENOENT;

	page = NULL;
	first = index >> huge_order << huge_order;
	if (shmem_is_huge(inode, index, hint))
		page = shmem_alloc_page(inode, first, huge_order, hint, source);
	if (!page) {
		first = index;
		page = shmem_alloc_page(inode, first, 0, hint, source);
	}
	if (!page)
		return -ENOMEM;
	if (sgp == SGP_WRITE)
		__SetPageReferenced(page);
	err = shmem_add_to_page_cache(page, mapping, first, NULL, mapping->gfp_mask);
	if (err) {
		unlock_page(page);
		put_page(page);
		if (err == -EEXIST)
			goto repeat;
		return err;
	}
	lru_cache_add(page);
	added = true;
	note_shrinkable(inode, page);
	/* Fresh pages of fallocate stay not uptodate: undo can tell them. */
	if (sgp == SGP_FALLOC)
		sgp = SGP_WRITE;
clear:
	if (sgp != SGP_WRITE && !PageUptodate(page)) {
		clear_huge_page(page, compound_nr(page));
		SetPageUptodate(page);
	}
	if (sgp <= SGP_CACHE && index >= i_size_pages(inode)) {
		if (added) {
			ClearPageDirty(page);
			delete_from_page_cache(page);
		}
		unlock_page(page);
		put_page(page);
		return -EINVAL;
	}
out:
	*ret_page = find_subpage(page, index);
	return 0;
}
