/* SPDX-License-Identifier: MIT */
/*
 * The exchange engine: the quiesce protocol (quiesce.h) with two pages at once. One pair's way:
 *
 *   1. nobody but us has one of them any more: it is let go, the other goes back
 *   2. make ready: a page whose kind of file cannot move dirty pages is written out, its private data released;
 *      one page at a time, since writing a page out drops its lock
 *   3. quiesce_lock both, the lower frame first, as everybody does who locks two
 *   4. quiesce_unmap both: migration entries everywhere
 *   5. lock the buffers of both: no device reads or writes either frame
 *      freeze both, with the slots of both files locked: no speculative reference sees a page between two identities
 *      exchange contents, then identities, then slots: nobody finds a frame that does not hold yet what it says
 *      unfreeze each at the references of what it is now
 *   6. quiesce_restore: the entries of each become mappings of the other's frame
 *   7. unlock in reverse
 *
 * Up to the freeze everything can fail, and everything is undone; after it nothing may. -EAGAIN is tried three more times.
 *
 * An *identity* is what moves from frame to frame: mapping and index, private data, the flags that say something of the
 * contents, the last accessor, the place in the deferred split queue. What stays with the frame: the page lock, the
 * isolation, its waiters, its contents' address.
 *
 * Locks: two page locks by frame number; two private_locks and two xa_locks by mapping_order().
 */
#include <pagesim/exchange.h>

#include <pagesim/address_space.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/movable.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/swap.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>
#include <pagesim/xarray.h>

#include "engines/isolate.h"
#include "engines/migration.h"
#include "engines/quiesce.h"

#define EXCHANGE_TRIES 4

/* Flags that say something of the contents or their use. */
#define IDENTITY_FLAGS                                                                                           \
	(PS_PG(referenced) | PS_PG(uptodate) | PS_PG(dirty) | PS_PG(active) | PS_PG(workingset) | PS_PG(error) | \
	 PS_PG(owner_priv_1) | PS_PG(arch_1) | PS_PG(private) | PS_PG(private_2) | PS_PG(mappedtodisk) |         \
	 PS_PG(reclaim) | PS_PG(swapbacked) | PS_PG(unevictable) | PS_PG(young) | PS_PG(idle))

struct identity {
	struct address_space *mapping; /* the word */
	pgoff_t index;
	unsigned long flags;
	int cpupid;
	bool deferred; /* in the queue of huge pages worth splitting */
};

/* One page of a pair, on its way through the steps. */
struct side {
	struct quiesce q;
	struct page *page;
	struct address_space *mapping; /* the file, or the swap cache; NULL: neither */
	pgoff_t slot;                  /* where it is there */
	struct buffer_head *buffers;   /* locked; NULL: none */
	int refs;                      /* to freeze at */
	struct identity identity;
};

/* ---- step 2: what cannot move as it is */

/* Return: 0 ready; -EAGAIN look again; -EBUSY, -EIO: it will not be. */
static int write_out_alone(struct address_space *mapping, struct page *page)
{
	struct writeback_control wbc = { .nr_to_write = 1, .for_reclaim = true };

	if (!mapping->a_ops->writepage)
		return -EBUSY;
	if (!clear_page_dirty_for_io(page))
		return -EAGAIN;
	if (mapping->a_ops->writepage(page, &wbc) < 0)
		return -EIO;
	/* The lock is gone with it; the lock of step 3 waits for the device. */
	lock_page(page);
	return 0;
}

static int make_ready(struct page *page, enum migrate_mode mode)
{
	struct address_space *mapping;
	int error = 0;

	if (!trylock_page(page)) {
		if (mode == MIGRATE_ASYNC || current->flags & PF_MEMALLOC)
			return -EAGAIN;
		lock_page(page);
	}
	mapping = page_mapping(page);
	if (mapping && mapping->a_ops->migrate_kind == MIGRATE_KIND_CUSTOM) {
		error = -EBUSY; /* its own function knows of one direction only */
	} else if (mapping && mapping->a_ops->migrate_kind == MIGRATE_KIND_FALLBACK) {
		if (PageDirty(page) && !PageWriteback(page))
			error = mode == MIGRATE_SYNC ? write_out_alone(mapping, page) : -EBUSY;
		if (!error && !PageWriteback(page) && page_has_private(page) && !try_to_release_page(page, GFP_KERNEL))
			error = -EAGAIN;
	}
	if (error != -EIO)
		unlock_page(page);
	return error;
}

/* ---- step 5: stock is taken, buffers are locked */

/* Context: unmapped; drop_stock() afterwards in any case. Return: 0; -EAGAIN. */
static int take_stock(struct side *s, enum migrate_mode mode)
{
	struct page *page = s->page;

	s->mapping = page_mapping(page);
	if (s->mapping) {
		enum migrate_kind kind = s->mapping->a_ops->migrate_kind;

		s->slot = PageSwapCache(page) ? (pgoff_t)swp_offset(page_swap_entry(page)) : page_to_pgoff(page);
		/* Made ready, and then dirtied again or given buffers. */
		if (kind == MIGRATE_KIND_FALLBACK && (PageDirty(page) || page_has_private(page)))
			return -EAGAIN;
	} else if (!PageAnon(page)) {
		return -EAGAIN; /* truncated: about to be freed */
	}
	s->refs = quiesce_expected_refs(s->mapping, page);
	if (s->mapping && page_has_buffers(page)) {
		if (page_count(page) != s->refs)
			return -EAGAIN; /* before waiting for the device in vain */
		if (!buffer_migrate_lock_buffers(page_buffers(page), mode))
			return -EAGAIN;
		s->buffers = page_buffers(page);
	}
	return 0;
}

static void drop_stock(struct side *s)
{
	if (s->buffers)
		buffer_migrate_unlock_buffers(s->buffers);
	s->buffers = NULL;
}

/* ---- step 5: freeze, exchange, unfreeze */

/* Any order will do that everybody keeps: swap before files, and these as they were created. */
static u64 mapping_order(const struct address_space *mapping)
{
	if (!mapping->host)
		return (u64)(mapping - this_machine()->swap->spaces);
	return mapping->host->i_ino << 32;
}

/* The files of a pair: first is the one to lock first. Both NULL, or one, or the same twice counted once. */
struct files {
	struct address_space *first, *second;
};

static struct files files_of(const struct side *a, const struct side *b)
{
	struct files f = { a->mapping, b->mapping };

	if (!f.first || f.first == f.second)
		return (struct files){ f.second, NULL };
	if (f.second && mapping_order(f.second) < mapping_order(f.first))
		return (struct files){ f.second, f.first };
	return f;
}

static void lock_files(const struct files *f)
{
	if (f->first)
		xa_lock(&f->first->i_pages);
	if (f->second)
		spin_lock_nested(&f->second->i_pages.xa_lock, 1);
}

static void unlock_files(const struct files *f)
{
	if (f->second)
		xa_unlock(&f->second->i_pages);
	if (f->first)
		xa_unlock(&f->first->i_pages);
}

static bool norefs(const struct side *s)
{
	return s->buffers && s->mapping->a_ops->migrate_kind == MIGRATE_KIND_BUFFERS_NOREFS;
}

/* A block device's buffers are found under private_lock alone: it is held over the exchange, and nobody may hold one now. */
static bool lock_private(const struct side *a, const struct side *b, const struct files *f)
{
	bool busy = false;

	if (norefs(a) || norefs(b)) {
		spin_lock(&f->first->private_lock);
		if (f->second)
			spin_lock_nested(&f->second->private_lock, 1);
		busy = (norefs(a) && buffer_migrate_busy(a->buffers)) || (norefs(b) && buffer_migrate_busy(b->buffers));
	}
	return !busy;
}

static void unlock_private(const struct side *a, const struct side *b, const struct files *f)
{
	if (norefs(a) || norefs(b)) {
		if (f->second)
			spin_unlock(&f->second->private_lock);
		spin_unlock(&f->first->private_lock);
	}
}

static void charge_exchange(struct page *a, struct page *b)
{
	struct ps_machine *machine = this_machine();
	u64 bytes = (u64)compound_nr(a) << PAGE_SHIFT;
	nid_t p = page_to_nid(a), q = page_to_nid(b), cpu = numa_node_id();

	/* Word by word in place: each frame is read and written once. */
	if (!PageTransHuge(a))
		ps_charge(2 * machine->costs.copy_page_ns, PS_TIME_COPY);
	ps_charge(ps_copy_ns(machine, cpu, p, q, bytes) + ps_copy_ns(machine, cpu, q, p, bytes), PS_TIME_COPY);
	ps_node_read(machine, p, bytes);
	ps_node_read(machine, q, bytes);
	ps_node_written(machine, p, bytes);
	ps_node_written(machine, q, bytes);
	__atomic_fetch_add(&machine->engines->moved_bytes, 2 * bytes, __ATOMIC_RELAXED);
}

static void exchange_contents(struct page *a, struct page *b)
{
	unsigned long nr = compound_nr(a), i;

	for (i = 0; i < nr; i++)
		exchange_highpage(a + i, b + i);
	charge_exchange(a, b);
}

/*
 * Not mapped, no small page belongs to one address space alone. Those that were mapped say so since they were unmapped; a part of
 * a huge page that went before may still claim it, and would for the page that comes into its frame.
 */
static void forget_exclusive(struct page *page)
{
	unsigned long nr = compound_nr(page), i;

	for (i = 0; PageAnon(page) && i < nr; i++)
		clear_bit(PG_anon_exclusive, &page[i].flags);
}

static struct identity identity_of(struct page *page)
{
	struct identity id = { .mapping = page->mapping,
			       .index = page->index,
			       .flags = READ_ONCE(page->flags) & IDENTITY_FLAGS,
			       .cpupid = page_cpupid_xchg_last(page, -1) };

	if (PageTransHuge(page))
		id.deferred = deferred_split_take(page);
	return id;
}

/* Bit by bit: who waits for the page lock sets PG_waiters in the same word. */
static void set_identity(struct page *page, const struct identity *id, bool tier_changed)
{
	unsigned long change = (READ_ONCE(page->flags) & IDENTITY_FLAGS) ^ id->flags;
	unsigned int bit;

	for (bit = 0; change; bit++, change >>= 1) {
		if (!(change & 1))
			continue;
		if (id->flags >> bit & 1)
			set_bit(bit, &page->flags);
		else
			clear_bit(bit, &page->flags);
	}
	page->index = id->index;
	WRITE_ONCE(page->mapping, id->mapping);
	/* Between tiers the field means two different things: there it starts anew. */
	page_cpupid_xchg_last(page, tier_changed ? -1 : id->cpupid);
}

/* Buffers and swap entries: of every base page, since each of a huge page in the swap cache has an entry. */
static void exchange_private(struct side *a, struct side *b)
{
	unsigned long nr = compound_nr(a->page), i;
	struct buffer_head *bh;

	for (i = 0; i < nr; i++) {
		unsigned long private_data = page_private(a->page + i);

		set_page_private(a->page + i, page_private(b->page + i));
		set_page_private(b->page + i, private_data);
	}
	if ((bh = a->buffers)) {
		do {
			WRITE_ONCE(bh->b_page, b->page);
		} while ((bh = bh->b_this_page) != a->buffers);
	}
	if ((bh = b->buffers)) {
		do {
			WRITE_ONCE(bh->b_page, a->page);
		} while ((bh = bh->b_this_page) != b->buffers);
	}
}

/* The slots of what `s` was get the frame `to`, which says already what it is; tags stay. Context: xa_lock. */
static void store_slots(const struct side *s, struct page *to)
{
	if (s->mapping) {
		XA_STATE(xas, &s->mapping->i_pages, s->slot);

		xas_load(&xas);
		cache_store(&xas, to);
	}
}

/* Does the file have the page where it says? Context: xa_lock. */
static bool in_slot(const struct side *s)
{
	XA_STATE(xas, &s->mapping->i_pages, s->slot);

	return xas_load(&xas) == s->page;
}

/* What is counted by zone or node moves from the frame of `s` to another. */
static void move_counters(const struct side *s, struct page *to)
{
	unsigned long flags = s->identity.flags;

	if (s->mapping)
		account_cached_page(s->page, to, s->mapping, flags & PS_PG(swapbacked), flags & PS_PG(dirty));
}

/* Return: 0; -EAGAIN, nothing has changed. */
static int exchange_identities(struct side *a, struct side *b)
{
	struct files files = files_of(a, b);
	long nr = thp_nr_pages(a->page);
	bool tier_changed = node_is_toptier(page_to_nid(a->page)) != node_is_toptier(page_to_nid(b->page));
	int error = -EAGAIN;

	if (!lock_private(a, b, &files))
		goto out_private;
	lock_files(&files);
	if ((a->mapping && !in_slot(a)) || (b->mapping && !in_slot(b)))
		goto out_unlock;
	if (!page_ref_freeze(a->page, a->refs))
		goto out_unlock;
	if (!page_ref_freeze(b->page, b->refs)) {
		page_ref_unfreeze(a->page, a->refs);
		goto out_unlock;
	}
	/* Nobody has them, nobody gets them: no turning back. */
	exchange_contents(a->page, b->page);
	forget_exclusive(a->page);
	forget_exclusive(b->page);
	a->identity = identity_of(a->page);
	b->identity = identity_of(b->page);
	/* Counted as isolated by what they were; put back, they will be uncounted by what they are. */
	count_isolated(a->page, -nr);
	count_isolated(b->page, -nr);
	exchange_private(a, b);
	set_identity(a->page, &b->identity, tier_changed);
	set_identity(b->page, &a->identity, tier_changed);
	count_isolated(a->page, nr);
	count_isolated(b->page, nr);
	store_slots(a, b->page);
	store_slots(b, a->page);
	page_ref_unfreeze(a->page, b->refs);
	page_ref_unfreeze(b->page, a->refs);
	error = 0;
out_unlock:
	unlock_files(&files);
out_private:
	unlock_private(a, b, &files);
	if (!error) {
		move_counters(a, b->page);
		move_counters(b, a->page);
		if (a->identity.deferred)
			deferred_split_return(b->page);
		if (b->identity.deferred)
			deferred_split_return(a->page);
	}
	return error;
}

/* ---- a pair */

static bool freed(struct page *page)
{
	return page_count(page) == 1;
}

static bool fit(struct page *from, struct page *to)
{
	return from != to && !__PageMovable(from) && !__PageMovable(to) && PageHead(from) == PageHead(to) &&
	       compound_nr(from) == compound_nr(to);
}

/* Steps 3 to 7. Return: as status of a pair. */
static int unmap_and_exchange(struct page *from, struct page *to, enum migrate_mode mode)
{
	bool in_order = page_to_pfn(from) < page_to_pfn(to);
	struct side a = { .page = in_order ? from : to }, b = { .page = in_order ? to : from };
	bool force = mode != MIGRATE_ASYNC;
	int error = quiesce_lock(&a.q, a.page, mode, force);

	if (error)
		return error;
	error = quiesce_lock_second(&b.q, b.page, mode, force);
	if (error)
		goto out_unlock_a;
	quiesce_unmap(&a.q, NULL);
	quiesce_unmap(&b.q, NULL);
	error = -EAGAIN;
	/* Still mapped: pinned, or a mapping raced in. */
	if (!page_mapped(a.page) && !page_mapped(b.page))
		error = take_stock(&a, mode);
	if (!error)
		error = take_stock(&b, mode);
	if (!error)
		error = exchange_identities(&a, &b);
	drop_stock(&b);
	drop_stock(&a);
	quiesce_restore(&a.q, error ? a.page : b.page);
	quiesce_restore(&b.q, error ? b.page : a.page);
	quiesce_unlock(&b.q);
out_unlock_a:
	quiesce_unlock(&a.q);
	return error;
}

static int exchange_pair(struct exchange_pair *pair, enum migrate_mode mode)
{
	struct ps_costs *costs = &this_machine()->costs;
	unsigned int tries;
	int error = -EAGAIN;

	if (!fit(pair->from, pair->to))
		return -EINVAL;
	ps_charge(2 * (PageTransHuge(pair->from) ? costs->migrate_huge_ns : costs->migrate_page_ns), PS_TIME_MIGRATE);
	for (tries = 0; tries < EXCHANGE_TRIES && error == -EAGAIN; tries++) {
		cond_resched();
		if (freed(pair->from) || freed(pair->to))
			return -ENOENT;
		error = make_ready(pair->from, mode);
		if (!error)
			error = make_ready(pair->to, mode);
		if (!error)
			error = unmap_and_exchange(pair->from, pair->to, mode);
	}
	return error;
}

static void put_back(struct page *page)
{
	LIST_HEAD(list);

	list_add(&page->lru, &list);
	if (!migrate_page_freed(page))
		putback_movable_pages(&list);
}

unsigned int exchange_pages(struct list_head *pairs, enum migrate_mode mode)
{
	struct exchange_pair *pair;
	unsigned int nr_failed = 0;

	ps_charge(this_machine()->costs.migrate_call_ns, PS_TIME_MIGRATE);
	list_for_each_entry(pair, pairs, list) {
		pair->status = exchange_pair(pair, mode);
		if (pair->status && pair->status != -ENOENT)
			nr_failed++;
		put_back(pair->from);
		put_back(pair->to);
	}
	return nr_failed;
}
