/* SPDX-License-Identifier: MIT */
/*
 * Slots of the swap area: giving them out, counting their users, taking them back; and the device behind them. What the
 * words of the map mean is in swap.h.
 *
 * A cluster is on the free list exactly while none of its slots is used. The first and a short last cluster never are:
 * what is no slot counts as used.
 *
 * A write, step by step:
 *   1 nobody uses the slot any more, and nobody can begin to (page locked, not mapped): the page leaves the cache instead
 *   2 the page goes under writeback, is unlocked, and is handed to the device
 *   3 the device takes the contents and ends the writeback: at once, or with ps_swap.deferred when ps_swap_complete says
 *
 * Source: the behaviour of Linux 6.1's mm/swapfile.c and mm/page_io.c.
 */
#include <pagesim/swap.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/bitops.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/machine.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

struct swap_cluster {
	struct list_head link; /* in free_clusters while nothing is used */
	unsigned int used;     /* slots that are used, or are none */
	bool huge;             /* all of it is a huge page's */
};

/* A write that is under way. */
struct swap_write {
	struct list_head link;
	struct page *page;
};

static u64 cluster_slots(const struct ps_swap *swap)
{
	return 1ull << swap->machine->pt_bits;
}

static struct swap_cluster *cluster_of(const struct ps_swap *swap, u64 offset)
{
	return &swap->clusters[offset >> swap->machine->pt_bits];
}

static u64 nr_clusters(const struct ps_swap *swap)
{
	return (swap->nr_slots + cluster_slots(swap) - 1) >> swap->machine->pt_bits;
}

static u32 count_of(u32 word)
{
	return word & ~SWAP_HAS_CACHE;
}

/* ---- the area comes and goes */

int ps_swap_init(struct ps_machine *machine)
{
	struct ps_swap *swap = ps_zalloc(sizeof(*swap));

	if (!swap)
		return -ENOMEM;
	swap->machine = machine;
	spin_lock_init(&swap->lock, SWAP_LOCK);
	INIT_LIST_HEAD(&swap->free_clusters);
	INIT_LIST_HEAD(&swap->writes);
	init_completion(&swap->unused);
	swap->read_ns = machine->costs.major_fault_ns;
	machine->swap = swap;
	return 0;
}

static void free_area(struct ps_swap *swap)
{
	unsigned int i;
	u64 slot;

	for (i = 0; i < swap->nr_spaces; i++)
		address_space_destroy(&swap->spaces[i]);
	for (slot = 0; swap->data && ps_contents_mode() == PS_CONTENTS_BYTES && slot < swap->nr_slots; slot++)
		ps_free((void *)(uintptr_t)swap->data[slot]);
	ps_free(swap->spaces);
	ps_free(swap->data);
	ps_free(swap->map);
	ps_free(swap->clusters);
	ps_free(swap->next);
	swap->spaces = NULL;
	swap->data = NULL;
	swap->map = NULL;
	swap->clusters = NULL;
	swap->next = NULL;
	swap->nr_spaces = 0;
	swap->nr_slots = swap->nr_free = 0;
	INIT_LIST_HEAD(&swap->free_clusters);
}

void ps_swap_destroy(struct ps_machine *machine)
{
	struct ps_swap *swap = machine->swap;

	if (!swap)
		return;
	ps_swap_complete(swap, 0);
	if (swap->map)
		ps_swap_remove(machine);
	machine->swap = NULL;
	ps_free(swap);
}

int ps_swapon(struct ps_machine *machine, u64 bytes)
{
	struct ps_swap *swap = machine->swap;
	u64 slots = bytes >> PAGE_SHIFT, i;
	unsigned int spaces;

	if (!swap)
		return -ENODEV;
	if (swap->map)
		return -EBUSY;
	if (slots < 2)
		return -EINVAL;
	spaces = (unsigned int)((slots + (1ull << SWAP_ADDRESS_SPACE_SHIFT) - 1) >> SWAP_ADDRESS_SPACE_SHIFT);
	swap->nr_slots = slots;
	swap->map = ps_calloc(slots, sizeof(*swap->map));
	swap->clusters = ps_calloc(nr_clusters(swap), sizeof(*swap->clusters));
	swap->next = ps_calloc(machine->nr_cpus, sizeof(*swap->next));
	swap->spaces = ps_calloc(spaces, sizeof(*swap->spaces));
	if (ps_contents_mode() != PS_CONTENTS_NONE)
		swap->data = ps_calloc(slots, sizeof(*swap->data));
	if (!swap->map || !swap->clusters || !swap->next || !swap->spaces ||
	    (ps_contents_mode() != PS_CONTENTS_NONE && !swap->data)) {
		free_area(swap);
		return -ENOMEM;
	}
	for (i = 0; i < spaces; i++)
		address_space_init(&swap->spaces[i], NULL, &swap_aops);
	swap->nr_spaces = spaces;
	swap->map[0] = SWAP_MAP_BAD;
	cluster_of(swap, 0)->used = 1;
	for (i = slots; i < nr_clusters(swap) * cluster_slots(swap); i++)
		cluster_of(swap, slots - 1)->used++;
	for (i = 0; i < nr_clusters(swap); i++)
		if (!swap->clusters[i].used)
			list_add_tail(&swap->clusters[i].link, &swap->free_clusters);
	spin_lock(&swap->lock);
	WRITE_ONCE(swap->nr_free, slots - 1);
	WRITE_ONCE(swap->on, true);
	spin_unlock(&swap->lock);
	atomic_set(&swap->users, 1);
	return 0;
}

int ps_swap_stop(struct ps_machine *machine)
{
	struct ps_swap *swap = machine->swap;
	bool was_on;

	if (!swap)
		return -EINVAL;
	spin_lock(&swap->lock);
	was_on = swap->on;
	WRITE_ONCE(swap->on, false);
	spin_unlock(&swap->lock);
	return was_on ? 0 : -EINVAL;
}

void ps_swap_resume(struct ps_machine *machine)
{
	struct ps_swap *swap = machine->swap;

	spin_lock(&swap->lock);
	WRITE_ONCE(swap->on, true);
	spin_unlock(&swap->lock);
}

void ps_swap_remove(struct ps_machine *machine)
{
	struct ps_swap *swap = machine->swap;

	BUG_ON(swap_next_used(swap, 0));
	ps_swap_stop(machine);
	if (!atomic_dec_and_test(&swap->users))
		wait_for_completion(&swap->unused);
	free_area(swap);
}

bool get_swap_device(swp_entry_t entry)
{
	struct ps_swap *swap = this_machine()->swap;

	if (!swap || swp_type(entry) || !atomic_inc_not_zero(&swap->users))
		return false;
	if (likely(swp_offset(entry) < swap->nr_slots))
		return true;
	put_swap_device();
	return false;
}

void put_swap_device(void)
{
	struct ps_swap *swap = this_machine()->swap;

	if (atomic_dec_and_test(&swap->users))
		complete(&swap->unused);
}

u64 total_swap_pages(void)
{
	const struct ps_swap *swap = this_machine()->swap;

	return swap && READ_ONCE(swap->on) ? swap->nr_slots - 1 : 0;
}

u64 get_nr_swap_pages(void)
{
	const struct ps_swap *swap = this_machine()->swap;

	return swap && READ_ONCE(swap->on) ? READ_ONCE(swap->nr_free) : 0;
}

bool vm_swap_full(void)
{
	return get_nr_swap_pages() * 2 < total_swap_pages();
}

/* ---- giving slots out. Context of all: swap->lock */

static void use_slot(struct ps_swap *swap, u64 offset)
{
	struct swap_cluster *cluster = cluster_of(swap, offset);

	if (!cluster->used++)
		list_del(&cluster->link);
	swap->map[offset] = SWAP_HAS_CACHE;
	WRITE_ONCE(swap->nr_free, swap->nr_free - 1);
}

static void unuse_slot(struct ps_swap *swap, u64 offset)
{
	struct swap_cluster *cluster = cluster_of(swap, offset);

	swap->map[offset] = 0;
	WRITE_ONCE(swap->nr_free, swap->nr_free + 1);
	if (!--cluster->used) {
		cluster->huge = false;
		list_add_tail(&cluster->link, &swap->free_clusters);
	}
}

/* The next free slot of this CPU's cluster, or of a new one. Return: 0: there is no free cluster. */
static u64 scan_cluster(struct ps_swap *swap)
{
	u64 *next = &swap->next[current->cpu], slots = cluster_slots(swap);

	for (;;) {
		u64 offset = *next, end;

		if (!offset) {
			if (list_empty(&swap->free_clusters))
				return 0;
			offset = (u64)(list_first_entry(&swap->free_clusters, struct swap_cluster, link) -
				       swap->clusters) *
				 slots;
		}
		/* Others may use our cluster too, when they find no free one. */
		end = ps_min((offset / slots + 1) * slots, swap->nr_slots);
		while (offset < end && swap->map[offset])
			offset++;
		*next = offset + 1 < end ? offset + 1 : 0;
		if (offset < end)
			return offset;
	}
}

static u64 scan_map(const struct ps_swap *swap)
{
	u64 offset;

	for (offset = 1; offset < swap->nr_slots; offset++)
		if (!swap->map[offset])
			return offset;
	return 0;
}

swp_entry_t get_swap_page(struct page *page)
{
	struct ps_swap *swap = this_machine()->swap;
	u64 nr = (u64)compound_nr(page), offset = 0, i;
	swp_entry_t none = { 0 };

	if (!swap)
		return none;
	spin_lock(&swap->lock);
	if (!swap->on || swap->nr_free < nr)
		goto out;
	if (nr == 1) {
		offset = scan_cluster(swap);
		if (!offset)
			offset = scan_map(swap);
		if (offset)
			use_slot(swap, offset);
	} else if (nr == cluster_slots(swap) && !list_empty(&swap->free_clusters)) {
		struct swap_cluster *cluster = list_first_entry(&swap->free_clusters, struct swap_cluster, link);

		offset = (u64)(cluster - swap->clusters) * nr;
		for (i = 0; i < nr; i++)
			use_slot(swap, offset + i);
		cluster->huge = true;
	}
out:
	spin_unlock(&swap->lock);
	return offset ? swp_entry(0, offset) : none;
}

/* ---- users of a slot */

/* The area of an entry in use; who has such an entry keeps the area. NULL: no such slot. */
static struct ps_swap *swap_of(swp_entry_t entry)
{
	struct ps_swap *swap = this_machine()->swap;

	if (WARN_ON_ONCE(!swap || !swap->map || swp_type(entry) || !swp_offset(entry) ||
			 swp_offset(entry) >= swap->nr_slots))
		return NULL;
	return swap;
}

/* Return: what the slot's word is now. Context: swap->lock. */
static u32 drop(struct ps_swap *swap, u64 offset, u32 usage)
{
	u32 count = count_of(swap->map[offset]), cache = swap->map[offset] & SWAP_HAS_CACHE;

	if (usage == SWAP_HAS_CACHE) {
		VM_BUG_ON(!cache);
		cache = 0;
	} else if (count == SWAP_MAP_SHMEM) {
		count = 0;
	} else {
		VM_BUG_ON(!count || count == SWAP_MAP_BAD);
		count--;
	}
	swap->map[offset] = count | cache;
	if (!(count | cache))
		unuse_slot(swap, offset);
	return count | cache;
}

void put_swap_page(struct page *page, swp_entry_t entry)
{
	struct ps_swap *swap = swap_of(entry);
	u64 offset = swp_offset(entry), nr = (u64)compound_nr(page), i;

	if (!swap)
		return;
	spin_lock(&swap->lock);
	if (nr > 1)
		cluster_of(swap, offset)->huge = false;
	for (i = 0; i < nr; i++)
		drop(swap, offset + i, SWAP_HAS_CACHE);
	spin_unlock(&swap->lock);
}

/* One more user, or the cache. */
static int duplicate(swp_entry_t entry, u32 usage)
{
	struct ps_swap *swap = swap_of(entry);
	u64 offset = swp_offset(entry);
	int error = 0;
	u32 count, cache;

	if (!swap)
		return -EINVAL;
	spin_lock(&swap->lock);
	count = count_of(swap->map[offset]);
	cache = swap->map[offset] & SWAP_HAS_CACHE;
	if (count == SWAP_MAP_BAD)
		error = -ENOENT;
	else if (usage == SWAP_HAS_CACHE)
		error = cache ? -EEXIST : (count ? 0 : -ENOENT);
	else if (!count && !cache)
		error = -ENOENT;
	else if (count >= SWAP_MAP_MAX)
		error = -EINVAL;
	if (!error)
		swap->map[offset] = usage == SWAP_HAS_CACHE ? count | SWAP_HAS_CACHE : (count + usage) | cache;
	spin_unlock(&swap->lock);
	return error;
}

int swap_duplicate(swp_entry_t entry)
{
	return duplicate(entry, 1);
}

void swap_shmem_alloc(swp_entry_t entry)
{
	int error = duplicate(entry, SWAP_MAP_SHMEM);

	VM_BUG_ON(error);
}

int swapcache_prepare(swp_entry_t entry)
{
	return duplicate(entry, SWAP_HAS_CACHE);
}

void swapcache_clear(swp_entry_t entry)
{
	struct ps_swap *swap = swap_of(entry);

	if (!swap)
		return;
	spin_lock(&swap->lock);
	drop(swap, swp_offset(entry), SWAP_HAS_CACHE);
	spin_unlock(&swap->lock);
}

void swap_free(swp_entry_t entry)
{
	struct ps_swap *swap = swap_of(entry);

	if (!swap)
		return;
	spin_lock(&swap->lock);
	drop(swap, swp_offset(entry), 1);
	spin_unlock(&swap->lock);
}

/* Does anything but the cache use a slot of the page that this slot belongs to? Context: swap->lock. */
static bool swapped_locked(const struct ps_swap *swap, u64 offset)
{
	u64 slots = cluster_slots(swap), first = offset / slots * slots, i;

	if (!cluster_of(swap, offset)->huge)
		return count_of(swap->map[offset]) != 0;
	for (i = 0; i < slots; i++)
		if (count_of(swap->map[first + i]))
			return true;
	return false;
}

/* The slot's page gives it up if nobody maps it, or if slots are short. */
static void reclaim_slot(swp_entry_t entry)
{
	struct page *page = lookup_swap_cache(entry);

	if (!page)
		return;
	/* We may be here with a page table locked: who has the page will see for himself. */
	if (trylock_page(page)) {
		if (!page_mapped(page) || vm_swap_full())
			try_to_free_swap(page);
		unlock_page(page);
	}
	put_page(page);
}

bool free_swap_and_cache(swp_entry_t entry)
{
	struct ps_swap *swap;
	bool cache_only;

	if (non_swap_entry(entry))
		return true;
	swap = swap_of(entry);
	if (!swap)
		return false;
	spin_lock(&swap->lock);
	cache_only = drop(swap, swp_offset(entry), 1) == SWAP_HAS_CACHE && !swapped_locked(swap, swp_offset(entry));
	spin_unlock(&swap->lock);
	if (cache_only)
		reclaim_slot(entry);
	return true;
}

unsigned int swp_swapcount(swp_entry_t entry)
{
	struct ps_swap *swap = swap_of(entry);
	u32 count = 0;

	if (swap) {
		spin_lock(&swap->lock);
		count = count_of(swap->map[swp_offset(entry)]);
		spin_unlock(&swap->lock);
	}
	return count == SWAP_MAP_SHMEM ? 1 : count;
}

bool page_swapped(struct page *page)
{
	swp_entry_t entry = page_swap_entry(page);
	struct ps_swap *swap = swap_of(entry);
	bool swapped = false;

	if (swap) {
		spin_lock(&swap->lock);
		swapped = PageTransCompound(page) ? swapped_locked(swap, swp_offset(entry))
						  : count_of(swap->map[swp_offset(entry)]) != 0;
		spin_unlock(&swap->lock);
	}
	return swapped;
}

void split_swap_cluster(swp_entry_t entry)
{
	struct ps_swap *swap = swap_of(entry);

	if (!swap)
		return;
	spin_lock(&swap->lock);
	cluster_of(swap, swp_offset(entry))->huge = false;
	spin_unlock(&swap->lock);
}

u64 swap_next_used(const struct ps_swap *swap, u64 offset)
{
	while (++offset < swap->nr_slots) {
		u32 word = ps_glance(swap->map[offset]);

		if (word && word != SWAP_MAP_BAD)
			return offset;
	}
	return 0;
}

/* ---- the device */

/* Takes the contents. Return: 0 or -EIO. */
static int device_write(struct ps_swap *swap, struct page *page)
{
	u64 offset = swp_offset(page_swap_entry(page));
	unsigned long nr = compound_nr(page), i;

	for (i = 0; i < nr && ps_contents_mode() == PS_CONTENTS_TAG; i++)
		swap->data[offset + i] = page_word_read(page + i);
	for (i = 0; i < nr && ps_contents_mode() == PS_CONTENTS_BYTES; i++) {
		if (!swap->data[offset + i])
			swap->data[offset + i] = (u64)(uintptr_t)ps_alloc(PAGE_SIZE);
		if (!swap->data[offset + i])
			return -EIO;
		memcpy((void *)(uintptr_t)swap->data[offset + i], page_address(page + i), PAGE_SIZE);
	}
	ps_stat_add(&swap->pages_written, nr);
	return 0;
}

static void device_read(const struct ps_swap *swap, struct page *page)
{
	u64 offset = swp_offset(page_swap_entry(page));

	if (ps_contents_mode() == PS_CONTENTS_TAG)
		page_word_write(page, swap->data[offset]);
	else if (ps_contents_mode() == PS_CONTENTS_BYTES)
		memcpy(page_address(page), (void *)(uintptr_t)swap->data[offset], PAGE_SIZE);
}

/* Context: PG_writeback. */
static void end_swap_write(struct ps_swap *swap, struct page *page)
{
	if (device_write(swap, page)) {
		/* It must not be dropped: what the slot holds is nothing. */
		SetPageError(page);
		set_page_dirty(page);
		ClearPageReclaim(page);
	}
	end_page_writeback(page);
}

static bool defer_write(struct ps_swap *swap, struct page *page)
{
	struct swap_write *write;

	if (!READ_ONCE(swap->deferred))
		return false;
	write = ps_alloc(sizeof(*write));
	if (!write)
		return false;
	write->page = page;
	spin_lock(&swap->lock);
	list_add_tail(&write->link, &swap->writes);
	spin_unlock(&swap->lock);
	return true;
}

int swap_writepage(struct page *page, struct writeback_control *wbc)
{
	struct ps_swap *swap = this_machine()->swap;
	bool deferred;

	(void)wbc;
	VM_BUG_ON_PAGE(!PageSwapCache(page), page);
	if (try_to_free_swap(page)) {
		unlock_page(page);
		return 0;
	}
	set_page_writeback(page);
	if (PageTransHuge(page))
		count_vm_event(THP_SWPOUT);
	count_vm_events(PSWPOUT, thp_nr_pages(page));
	ps_charge(swap->write_ns * (u64)thp_nr_pages(page), PS_TIME_WAIT);
	deferred = defer_write(swap, page);
	unlock_page(page);
	if (!deferred)
		end_swap_write(swap, page);
	return 0;
}

unsigned long ps_swap_complete(struct ps_swap *swap, unsigned long max)
{
	unsigned long done = 0;

	for (;;) {
		struct swap_write *write = NULL;

		spin_lock(&swap->lock);
		if (!list_empty(&swap->writes)) {
			write = list_first_entry(&swap->writes, struct swap_write, link);
			list_del(&write->link);
		}
		spin_unlock(&swap->lock);
		if (!write)
			return done;
		end_swap_write(swap, write->page);
		ps_free(write);
		if (++done == max)
			return done;
	}
}

void swap_readpage(struct page *page)
{
	struct ps_swap *swap = this_machine()->swap;

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(PageUptodate(page), page);
	VM_BUG_ON_PAGE(PageCompound(page), page);
	device_read(swap, page);
	ps_charge(swap->read_ns, PS_TIME_FAULT);
	ps_stat_add(&swap->pages_read, 1);
	count_vm_event(PSWPIN);
	SetPageUptodate(page);
	unlock_page(page);
}

/* ---- truth */

static bool __attribute__((format(printf, 3, 4))) wrong(char *why, size_t len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (why && len)
		vsnprintf(why, len, format, args);
	va_end(args);
	return false;
}

/* Most of the area is free most of the time, and it is looked at often. */
static bool cluster_is_free(const struct ps_swap *swap, u64 first)
{
	u64 slots = cluster_slots(swap), i;
	u32 any = 0;

	if (first + slots > swap->nr_slots)
		return false;
	for (i = 0; i < slots; i++)
		any |= swap->map[first + i];
	return !any;
}

/* One part of the cache: each page under its own entry, and the map says so. */
static bool space_validate(const struct ps_swap *swap, struct address_space *space, u64 *cached, char *why, size_t len)
{
	unsigned long offset, pages = 0;
	void *entry;

	if (!xa_validate(&space->i_pages, why, len))
		return false;
	xa_for_each(&space->i_pages, offset, entry) {
		struct page *page = (struct page *)entry;
		u64 slot = offset;

		if (xa_is_value(entry))
			return wrong(why, len, "slot %lu: a value in the swap cache", offset);
		if (PageTail(page) || !PageSwapCache(page))
			return wrong(why, len, "slot %lu: a page that does not know of it (pfn %llu)", offset,
				     (unsigned long long)page_to_pfn(page));
		if (swp_offset(page_swap_entry(page)) > slot ||
		    swp_offset(page_swap_entry(page)) + compound_nr(page) <= slot)
			return wrong(why, len, "slot %lu: its page says %llu", offset,
				     (unsigned long long)swp_offset(page_swap_entry(page)));
		page += slot - swp_offset(page_swap_entry(page));
		if (page_private(page) != swp_entry(0, slot).val)
			return wrong(why, len, "slot %lu: the small page of it says %llu", offset,
				     (unsigned long long)swp_offset(page_swap_entry(page)));
		if (!(swap->map[slot] & SWAP_HAS_CACHE))
			return wrong(why, len, "slot %lu: cached, the map says %#x", offset, swap->map[slot]);
		pages++;
	}
	if (pages != space->nrpages)
		return wrong(why, len, "swap cache: nrpages is %lu, there are %lu", space->nrpages, pages);
	*cached += pages;
	return true;
}

bool ps_swap_validate(struct ps_swap *swap, char *ret_why, size_t why_len)
{
	struct swap_cluster *cluster;
	u64 slot, free = 0, cached = 0, claimed = 0, i, free_clusters = 0;

	if (!swap->map)
		return true;
	for (i = 0; i < swap->nr_spaces; i++)
		if (!space_validate(swap, &swap->spaces[i], &cached, ret_why, why_len))
			return false;
	for (i = 0; i < nr_clusters(swap); i++) {
		u64 first = i * cluster_slots(swap);
		unsigned int used = 0;

		bool empty = cluster_is_free(swap, first);

		free += empty ? cluster_slots(swap) : 0;
		for (slot = first; !empty && slot < first + cluster_slots(swap); slot++) {
			u32 word = slot < swap->nr_slots ? swap->map[slot] : SWAP_MAP_BAD;

			used += word != 0;
			free += word == 0;
			claimed += !!(word & SWAP_HAS_CACHE);
		}
		if (used != swap->clusters[i].used)
			return wrong(ret_why, why_len, "cluster %llu: %u slots used, it says %u", (unsigned long long)i,
				     used, swap->clusters[i].used);
		free_clusters += !used;
	}
	list_for_each_entry(cluster, &swap->free_clusters, link) {
		if (cluster->used || !free_clusters--)
			return wrong(ret_why, why_len, "cluster %llu is used and on the free list",
				     (unsigned long long)(cluster - swap->clusters));
	}
	if (free_clusters)
		return wrong(ret_why, why_len, "%llu free clusters are not on the list",
			     (unsigned long long)free_clusters);
	if (free != swap->nr_free)
		return wrong(ret_why, why_len, "%llu slots are free, nr_free is %llu", (unsigned long long)free,
			     (unsigned long long)swap->nr_free);
	if (claimed != cached)
		return wrong(ret_why, why_len, "%llu slots say that they are cached, %llu are",
			     (unsigned long long)claimed, (unsigned long long)cached);
	return true;
}
