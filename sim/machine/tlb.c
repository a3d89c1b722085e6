/* SPDX-License-Identifier: MIT */
/*
 * The cold half of the TLB: making, filling, flushing and showing. The hot half and the picture are in tlb.h.
 *
 * Removing an entry clears its recent bit, which makes its way a candidate for the next fill.
 */
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/tlb.h>

static_assert(sizeof(struct ps_tlb_l2_set) == 64, "a set's search is one host cache line");

static const struct ps_tlb_geometry skylake = {
	.l1_small_entries = 64,
	.l1_small_ways = 4,
	.l1_huge_entries = 32,
	.l1_huge_ways = 4,
	.l2_entries = 1536,
	.l2_ways = 12,
};

static bool geometry_unset(const struct ps_tlb_geometry *g)
{
	return !g->l1_small_entries && !g->l1_small_ways && !g->l1_huge_entries && !g->l1_huge_ways && !g->l2_entries &&
	       !g->l2_ways;
}

const char *ps_tlb_geometry_check(const struct ps_tlb_geometry *g)
{
	const struct {
		u32 entries, ways, least_ways, most_ways;
		const char *ways_text, *sets_text;
	} level[] = {
		{ g->l1_small_entries, g->l1_small_ways, 1, 1024,
		  "first-level TLB for base pages: ways are not 1 .. 1024",
		  "first-level TLB for base pages: entries / ways is not a power of two" },
		{ g->l1_huge_entries, g->l1_huge_ways, 1, 1024,
		  "first-level TLB for huge pages: ways are not 1 .. 1024",
		  "first-level TLB for huge pages: entries / ways is not a power of two" },
		{ g->l2_entries, g->l2_ways, 2, PS_TLB_L2_WAYS, "second-level TLB: ways are not 2 .. 16",
		  "second-level TLB: entries / ways is not a power of two" },
	};

	if (geometry_unset(g))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(level); i++) {
		u32 sets;

		if (level[i].ways < level[i].least_ways || level[i].ways > level[i].most_ways)
			return level[i].ways_text;
		sets = level[i].entries / level[i].ways;
		if (!sets || level[i].entries % level[i].ways || (sets & (sets - 1)))
			return level[i].sets_text;
	}
	if (g->l2_entries / g->l2_ways > 4096)
		return "second-level TLB: more than 4096 sets";
	if (g->l1_small_entries > g->l2_entries || g->l1_huge_entries > g->l2_entries)
		return "second-level TLB: smaller than a first level, which it must include";
	return NULL;
}

static u32 nr_places(const struct ps_tlb *tlb)
{
	return (tlb->l2_mask + 1) * PS_TLB_L2_WAYS;
}

static void clear_sets(struct ps_tlb *tlb)
{
	memset(tlb->l2, 0, sizeof(*tlb->l2) * (tlb->l2_mask + 1));
	memset(tlb->recent, 0, sizeof(*tlb->recent) * (tlb->l2_mask + 1));
	memset(tlb->entry, 0, sizeof(*tlb->entry) * nr_places(tlb));
	for (unsigned huge = 0; huge < 2; huge++)
		memset(tlb->turn[huge], 0, sizeof(*tlb->turn[huge]) * (tlb->l1_mask[huge] + 1));
	tlb->nr_huge = 0;
}

int ps_tlb_init(struct ps_tlb *tlb, const struct ps_tlb_geometry *geometry, unsigned huge_shift)
{
	const struct ps_tlb_geometry *g = geometry && !geometry_unset(geometry) ? geometry : &skylake;
	size_t l2_bytes, entry_bytes, turn_bytes, recent_bytes;

	if (ps_tlb_geometry_check(g) || !huge_shift || huge_shift > 9)
		return -EINVAL;
	memset(tlb, 0, sizeof(*tlb));
	tlb->geometry = *g;
	tlb->l2_mask = g->l2_entries / g->l2_ways - 1;
	tlb->l2_all = (1u << g->l2_ways) - 1;
	tlb->l1_mask[0] = g->l1_small_entries / g->l1_small_ways - 1;
	tlb->l1_mask[1] = g->l1_huge_entries / g->l1_huge_ways - 1;
	tlb->l1_ways[0] = g->l1_small_ways;
	tlb->l1_ways[1] = g->l1_huge_ways;
	tlb->huge_shift = huge_shift;
	l2_bytes = sizeof(*tlb->l2) * (tlb->l2_mask + 1);
	entry_bytes = sizeof(*tlb->entry) * nr_places(tlb);
	turn_bytes = sizeof(u16) * (tlb->l1_mask[0] + 1 + tlb->l1_mask[1] + 1);
	recent_bytes = sizeof(u16) * (tlb->l2_mask + 1);
	tlb->memory = ps_alloc_aligned(64, l2_bytes + entry_bytes + turn_bytes + recent_bytes);
	if (!tlb->memory)
		return -ENOMEM;
	tlb->l2 = (struct ps_tlb_l2_set *)tlb->memory;
	tlb->entry = (struct ps_tlb_entry *)(void *)((char *)tlb->memory + l2_bytes);
	tlb->turn[0] = (u16 *)(void *)((char *)tlb->memory + l2_bytes + entry_bytes);
	tlb->turn[1] = tlb->turn[0] + tlb->l1_mask[0] + 1;
	tlb->recent = tlb->turn[1] + tlb->l1_mask[1] + 1;
	clear_sets(tlb);
	return 0;
}

void ps_tlb_destroy(struct ps_tlb *tlb)
{
	ps_free(tlb->memory);
	memset(tlb, 0, sizeof(*tlb));
}

static u64 tag_page(u64 tag)
{
	return (tag & ((1ull << 38) - 1)) >> 1;
}

/* Forget the entry at @place. */
static void lose(struct ps_tlb *tlb, u32 place)
{
	struct ps_tlb_l2_set *set = &tlb->l2[place / PS_TLB_L2_WAYS];
	struct ps_tlb_entry *entry = &tlb->entry[place];
	u32 way = place % PS_TLB_L2_WAYS;

	tlb->nr_huge -= entry->tag & 1;
	entry->tag = 0;
	entry->word = 0;
	set->partial[way] = 0;
	tlb->recent[place / PS_TLB_L2_WAYS] &= (u16) ~(1u << way);
}

/* Place of an entry, or -1. */
static int find(const struct ps_tlb *tlb, u32 asid, u64 page, unsigned huge)
{
	u32 set = (u32)page & tlb->l2_mask, bit = ps_tlb_find(tlb, set, ps_tlb_tag(asid, page, huge));

	return bit ? (int)(set * PS_TLB_L2_WAYS) + __builtin_ctz(bit) : -1;
}

u64 ps_tlb_probe(struct ps_tlb *tlb, u32 asid, u64 vpn)
{
	u64 word = 0;
	int place;

	ps_tlb_lock(tlb);
	place = find(tlb, asid, vpn, 0);
	if (place < 0)
		place = find(tlb, asid, vpn >> tlb->huge_shift, 1);
	if (place >= 0)
		word = tlb->entry[place].word;
	ps_tlb_unlock(tlb);
	return word;
}

void ps_tlb_insert(struct ps_tlb *tlb, u32 asid, u64 vpn, pfn_t pfn, nid_t nid, u64 flags)
{
	unsigned huge = !!(flags & PS_TLB_HUGE);
	u64 page = huge ? vpn >> tlb->huge_shift : vpn;
	u32 set = (u32)page & tlb->l2_mask, bit;

	ps_tlb_lock(tlb);
	bit = ps_tlb_find(tlb, set, ps_tlb_tag(asid, page, huge));
	if (!bit) {
		ps_tlb_fill_locked(tlb, asid, huge, page, ps_tlb_word(pfn, nid, flags));
	} else {
		tlb->entry[set * PS_TLB_L2_WAYS + (u32)__builtin_ctz(bit)].word = ps_tlb_word(pfn, nid, flags);
		tlb->l2[set].turn[__builtin_ctz(bit)] = ++tlb->turn[huge][page & tlb->l1_mask[huge]];
		tlb->recent[set] = (u16)ps_tlb_used(tlb->recent[set], bit, tlb->l2_all);
	}
	ps_tlb_unlock(tlb);
}

static unsigned flush_one(struct ps_tlb *tlb, u32 asid, u64 page, unsigned huge)
{
	int place = find(tlb, asid, page, huge);

	if (place < 0)
		return 0;
	lose(tlb, (u32)place);
	return 1;
}

unsigned ps_tlb_flush_page(struct ps_tlb *tlb, u32 asid, u64 vpn)
{
	return ps_tlb_flush_range(tlb, asid, vpn, 1);
}

/* Visit every entry and drop those of @asid that cover a page of [first, last]. */
static unsigned flush_scan(struct ps_tlb *tlb, u32 asid, u64 first, u64 last)
{
	unsigned n = 0;

	for (u32 place = 0; place < nr_places(tlb); place++) {
		u64 tag = tlb->entry[place].tag, page = tag_page(tag);
		unsigned shift = tag & 1 ? tlb->huge_shift : 0;

		if (!tag || tag >> 38 != asid || page > last >> shift || page < first >> shift)
			continue;
		lose(tlb, place);
		n++;
	}
	return n;
}

unsigned ps_tlb_flush_range(struct ps_tlb *tlb, u32 asid, u64 vpn, u64 npages)
{
	u64 last = vpn + npages - 1;
	unsigned n = 0;

	if (!npages)
		return 0;
	if (last < vpn)
		last = ~0ull;
	ps_tlb_lock(tlb);
	if (npages > tlb->l2_mask) {
		n = flush_scan(tlb, asid, vpn, last);
	} else {
		for (u64 v = vpn; v <= last; v++)
			n += flush_one(tlb, asid, v, 0);
		if (tlb->nr_huge)
			for (u64 v = vpn >> tlb->huge_shift; v <= last >> tlb->huge_shift; v++)
				n += flush_one(tlb, asid, v, 1);
	}
	ps_tlb_unlock(tlb);
	return n;
}

unsigned ps_tlb_flush_asid(struct ps_tlb *tlb, u32 asid)
{
	unsigned n;

	ps_tlb_lock(tlb);
	n = flush_scan(tlb, asid, 0, ~0ull);
	ps_tlb_unlock(tlb);
	return n;
}

void ps_tlb_flush_all(struct ps_tlb *tlb)
{
	ps_tlb_lock(tlb);
	clear_sets(tlb);
	ps_tlb_unlock(tlb);
}

bool ps_tlb_next(const struct ps_tlb *tlb, u32 *cursor, struct ps_tlb_item *ret)
{
	while (*cursor < nr_places(tlb)) {
		const struct ps_tlb_entry *entry = &tlb->entry[(*cursor)++];
		unsigned shift = entry->tag & 1 ? tlb->huge_shift : 0;

		if (!entry->tag)
			continue;
		ret->asid = (u32)(entry->tag >> 38);
		ret->vpn = tag_page(entry->tag) << shift;
		ret->npages = 1ull << shift;
		ret->pfn = entry->word & PS_TLB_PFN_MASK;
		ret->nid = ps_tlb_nid(entry->word);
		ret->flags = entry->word & ~(PS_TLB_PFN_MASK | 63ull << PS_TLB_NID_SHIFT);
		return true;
	}
	return false;
}

void ps_tlb_counts(const struct ps_tlb *tlb, struct ps_tlb_counts *ret)
{
	ret->l1_hits = tlb->l1_hits;
	ret->misses = tlb->misses;
	ret->l2_hits = tlb->lookups - tlb->l1_hits - tlb->misses;
}
