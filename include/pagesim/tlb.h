/* SPDX-License-Identifier: MIT */
/*
 * The two-level TLB of one CPU: a small first level for base pages, one for huge pages, and a unified second level, each
 * set associative, tagged by address space. A lookup says in one word which frame, which node, which permissions and at
 * which level it hit, so that the hot path of an access needs neither the page table nor struct page.
 *
 * Names in this file:
 *   vpn   - virtual page number, virtual address / PAGE_SIZE
 *   page  - number of a page in its own size: vpn, or vpn >> pt_bits for a huge page
 *   asid  - number of the address space (an mm's id), 1 .. PS_TLB_MAX_ASID
 *   word  - what a lookup returns and an entry holds: PFN, node and PS_TLB_* flags; 0 = miss
 *   tag   - asid, page size and page number of an entry in one u64; 0 = no entry
 *   place - of an entry in the second level: set * PS_TLB_L2_WAYS + way
 *
 * The second level is inclusive: what is in a first level is in the second. So one probe decides hit or miss.
 *
 *      L2 set: one host cache line                                        entries by place
 *     +--------------------------------------+---------------------+      +-----------+-----------+----
 *     | 16 bits of each way's tag            | turn of each way    | ...  | tag, word | tag, word | ...
 *     | (two vector compares find a hit)     | in the first level  |      | of way 0  | of way 1  |
 *     +--------------------------------------+---------------------+      +-----------+-----------+----
 *
 * Replacement in the second level is pseudo-LRU by recent bits: a use sets the way's bit; when all are set, only that
 * one stays. The victim is the lowest way whose bit is clear; there is always one, so a set has at least two ways.
 * Losing an entry clears its bit.
 *
 * Replacement in the first level is round robin. So a set need not say what it holds: it counts its fills (its turn), an
 * entry remembers the turn of its own fill, and is there as long as fewer than `ways` fills came after it. An entry that
 * is flushed leaves its way empty until the turn comes round. Turns are 16 bits: an entry left unused for exactly 65536
 * fills of its set would be taken for present, at the price of a second-level hit.
 *
 * What hardware does differently: second levels are mostly not inclusive; sets are chosen by a hash on some CPUs, here by
 * the low bits of the page number; there is no separate instruction TLB, and no page walk cache (its effect is in the cost
 * of a walk step).
 *
 * Speed: a lookup that hits takes some 4 ns, a refill 5. What costs more is that the host predicts a simulated miss badly,
 * so that its loads behind one (page table, struct page) begin late. Who knows the accesses to come prefetches both for
 * an access a few ahead; then a miss costs what the walk costs, and less than a walk each time.
 *
 * Locking: a TLB belongs to its CPU. In the fiber build nothing else runs during an operation. In the native build
 * (PS_NATIVE) a spin bit of the TLB makes each operation atomic, remote flushes included.
 *
 * Layer: machine
 */
#ifndef PAGESIM_TLB_H
#define PAGESIM_TLB_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_TLB_MAX_ASID  ((1u << 26) - 1)
#define PS_TLB_PFN_BITS  36
#define PS_TLB_PFN_MASK  ((1ull << PS_TLB_PFN_BITS) - 1)
#define PS_TLB_NID_SHIFT 36
/* Flags of a word. */
#define PS_TLB_VALID (1ull << 42)
/** A huge page: PFN of its first frame, entry covers 1 << pt_bits pages. */
#define PS_TLB_HUGE (1ull << 43)
/** The entry was writable. */
#define PS_TLB_WRITE (1ull << 44)
/** The entry was dirty: a store through it needs no walk. */
#define PS_TLB_DIRTY (1ull << 45)
/** Only in what a lookup returns: the first level had it. */
#define PS_TLB_L1_SHIFT 46
#define PS_TLB_L1       (1ull << PS_TLB_L1_SHIFT)
/** Free for the user: kept as inserted. */
#define PS_TLB_USER (1ull << 47)

/** The most ways of the second level. */
#define PS_TLB_L2_WAYS 16

/** struct ps_tlb_geometry - entries and ways; entries / ways is a power of two. All zero = Skylake's. */
struct ps_tlb_geometry {
	u32 l1_small_entries, l1_small_ways;
	u32 l1_huge_entries, l1_huge_ways;
	u32 l2_entries, l2_ways;
};

struct ps_tlb_entry {
	u64 tag;
	u64 word;
};

struct ps_tlb_l2_set {
	u16 partial[PS_TLB_L2_WAYS];
	/* Turn of the first-level set at each way's last fill into it. */
	u16 turn[PS_TLB_L2_WAYS];
};

/** struct ps_tlb - one CPU's TLB. Read the counters with ps_tlb_counts. */
struct ps_tlb {
	struct ps_tlb_l2_set *l2;
	/* Entries of the second level by place. */
	struct ps_tlb_entry *entry;
	/* Recent ways of each set of the second level, a bit per way. */
	u16 *recent;
	/* Turns of the first-level sets, [huge][set]. */
	u16 *turn[2];
	u32 l2_mask;
	u32 l2_all;     /* a bit per way */
	u32 l1_mask[2]; /* [huge] */
	u32 l1_ways[2]; /* [huge] */
	u32 huge_shift; /* pt_bits */
	u32 nr_huge;    /* huge entries present */
	u32 lock;       /* native build only */
	u64 lookups;
	u64 l1_hits;
	u64 misses;
	struct ps_tlb_geometry geometry;
	void *memory;
};

/** struct ps_tlb_counts - lookups by outcome. */
struct ps_tlb_counts {
	u64 l1_hits;
	u64 l2_hits;
	u64 misses;
};

/* Parts of a word. ps_tlb_pfn: the frame of @vpn itself, also inside a huge page. */
static inline nid_t ps_tlb_nid(u64 word)
{
	return (nid_t)((word >> PS_TLB_NID_SHIFT) & 63);
}

static inline pfn_t ps_tlb_pfn(const struct ps_tlb *tlb, u64 word, u64 vpn)
{
	u64 inside = (0 - (u64) !!(word & PS_TLB_HUGE)) & ((1ull << tlb->huge_shift) - 1);

	return (word & PS_TLB_PFN_MASK) + (vpn & inside);
}

/* The tag of an entry; asid 0 is nobody, so no tag of an entry is 0. */
static inline u64 ps_tlb_tag(u32 asid, u64 page, unsigned huge)
{
	return ((u64)asid << 38) | (page << 1) | huge;
}

static inline u16 ps_tlb_partial(u64 tag)
{
	return (u16)((tag * 0x9e3779b97f4a7c15ull) >> 48);
}

#ifdef PS_NATIVE
static inline void ps_tlb_lock(struct ps_tlb *tlb)
{
	while (__atomic_exchange_n(&tlb->lock, 1, __ATOMIC_ACQUIRE))
		;
}

static inline void ps_tlb_unlock(struct ps_tlb *tlb)
{
	__atomic_store_n(&tlb->lock, 0, __ATOMIC_RELEASE);
}
#else
static inline void ps_tlb_lock(struct ps_tlb *tlb)
{
	(void)tlb;
}

static inline void ps_tlb_unlock(struct ps_tlb *tlb)
{
	(void)tlb;
}
#endif

#ifdef __SSE2__
typedef char ps_v16s8 __attribute__((vector_size(16)));
typedef s16 ps_v8s16 __attribute__((vector_size(16)));
#endif

/* Bit w set: the 16 bits of way w's tag are @partial. */
static inline u32 ps_tlb_candidates(const struct ps_tlb_l2_set *set, u16 partial)
{
#ifdef __SSE2__
	s16 p = (s16)partial;
	ps_v8s16 want = { p, p, p, p, p, p, p, p };
	const ps_v8s16 *have = (const ps_v8s16 *)(const void *)set->partial;
	ps_v8s16 low = (ps_v8s16)(have[0] == want), high = (ps_v8s16)(have[1] == want);

	return (u32)__builtin_ia32_pmovmskb128((ps_v16s8)__builtin_ia32_packsswb128(low, high));
#else
	u32 mask = 0;

	for (unsigned w = 0; w < PS_TLB_L2_WAYS; w++)
		mask |= (u32)(set->partial[w] == partial) << w;
	return mask;
#endif
}

/* The way of @set that holds @tag, as a bit; 0 = none. */
static inline u32 ps_tlb_find(const struct ps_tlb *tlb, u32 set, u64 tag)
{
	u32 mask = ps_tlb_candidates(&tlb->l2[set], ps_tlb_partial(tag));

	while (mask) {
		if (likely(tlb->entry[(size_t)set * PS_TLB_L2_WAYS + (u32)__builtin_ctz(mask)].tag == tag))
			return mask & (0 - mask);
		mask &= mask - 1;
	}
	return 0;
}

/* The way with this bit is used: what is recent afterwards. */
static inline u32 ps_tlb_used(u32 recent, u32 bit, u32 all)
{
	recent |= bit;
	return recent == all ? bit : recent;
}

/* What ps_tlb_lookup does when it knows that @set has the entry in the way of @bit. */
static inline u64 ps_tlb_hit(struct ps_tlb *tlb, unsigned huge, u64 page, u32 set, u32 bit)
{
	u16 *turn = &tlb->turn[huge][(u32)page & tlb->l1_mask[huge]];
	u32 way = (u32)__builtin_ctz(bit), now = *turn, mine = tlb->l2[set].turn[way];
	u64 word = tlb->entry[(size_t)set * PS_TLB_L2_WAYS + way].word, had = (u16)(now - mine) < tlb->l1_ways[huge];

	/* Without a branch: an entry that is not in the first level is filled in, one that is stays. */
	now += !had;
	*turn = (u16)now;
	tlb->l2[set].turn[way] = (u16)(had ? mine : now);
	tlb->recent[set] = (u16)ps_tlb_used(tlb->recent[set], bit, tlb->l2_all);
	tlb->l1_hits += had;
	ps_tlb_unlock(tlb);
	return word | had << PS_TLB_L1_SHIFT;
}

/**
 * ps_tlb_lookup - translate page @vpn of address space @asid.
 * A hit counts as a use, and brings an entry that was only in the second level into the first.
 * Return: the entry's word, or 0. PS_TLB_L1 in it says that the first level had it. A store may proceed without a walk
 * when both PS_TLB_WRITE and PS_TLB_DIRTY are set.
 * Fidelity: simplified (hardware).
 */
static inline u64 ps_tlb_lookup(struct ps_tlb *tlb, u32 asid, u64 vpn)
{
	u32 set = (u32)vpn & tlb->l2_mask, bit;

	ps_tlb_lock(tlb);
	tlb->lookups++;
	bit = ps_tlb_find(tlb, set, ps_tlb_tag(asid, vpn, 0));
	if (bit)
		return ps_tlb_hit(tlb, 0, vpn, set, bit);
	if (tlb->nr_huge) {
		u64 page = vpn >> tlb->huge_shift;

		set = (u32)page & tlb->l2_mask;
		bit = ps_tlb_find(tlb, set, ps_tlb_tag(asid, page, 1));
		if (bit)
			return ps_tlb_hit(tlb, 1, page, set, bit);
	}
	tlb->misses++;
	ps_tlb_unlock(tlb);
	return 0;
}

static inline u64 ps_tlb_word(pfn_t pfn, nid_t nid, u64 flags)
{
	return (pfn & PS_TLB_PFN_MASK) | ((u64)nid << PS_TLB_NID_SHIFT) | PS_TLB_VALID |
	       (flags & (PS_TLB_HUGE | PS_TLB_WRITE | PS_TLB_DIRTY | PS_TLB_USER));
}

/* ps_tlb_fill below. */
static inline void ps_tlb_fill_locked(struct ps_tlb *tlb, u32 asid, unsigned huge, u64 page, u64 word)
{
	size_t set = page & tlb->l2_mask;
	u32 free = tlb->l2_all & ~(u32)tlb->recent[set], way = (u32)__builtin_ctz(free);
	struct ps_tlb_entry *entry = &tlb->entry[set * PS_TLB_L2_WAYS + way];
	u64 tag = ps_tlb_tag(asid, page, huge);

	tlb->nr_huge += huge - (u32)(entry->tag & 1);
	entry->tag = tag;
	entry->word = word;
	tlb->l2[set].partial[way] = ps_tlb_partial(tag);
	tlb->l2[set].turn[way] = ++tlb->turn[huge][page & tlb->l1_mask[huge]];
	tlb->recent[set] = (u16)ps_tlb_used(tlb->recent[set], free & (0 - free), tlb->l2_all);
}

/**
 * ps_tlb_fill - remember a translation at both levels right after a lookup of it missed, with no other insert of it
 * since: ps_tlb_insert without the search.
 */
static inline void ps_tlb_fill(struct ps_tlb *tlb, u32 asid, u64 vpn, pfn_t pfn, nid_t nid, u64 flags)
{
	ps_tlb_lock(tlb);
	if (flags & PS_TLB_HUGE)
		ps_tlb_fill_locked(tlb, asid, 1, vpn >> tlb->huge_shift, ps_tlb_word(pfn, nid, flags));
	else
		ps_tlb_fill_locked(tlb, asid, 0, vpn, ps_tlb_word(pfn, nid, flags));
	ps_tlb_unlock(tlb);
}

/** ps_tlb_probe - the same without counting, moving or using anything. */
u64 ps_tlb_probe(struct ps_tlb *tlb, u32 asid, u64 vpn);

/**
 * ps_tlb_insert - remember a translation at both levels, replacing one of the same page and size.
 * @vpn: any page of the (huge) page. @pfn: of its first frame. @nid: its node. @flags: PS_TLB_HUGE, _WRITE, _DIRTY, _USER.
 */
void ps_tlb_insert(struct ps_tlb *tlb, u32 asid, u64 vpn, pfn_t pfn, nid_t nid, u64 flags);

/** ps_tlb_flush_page - forget the entries, small and huge, that translate @vpn. Return: how many there were. */
unsigned ps_tlb_flush_page(struct ps_tlb *tlb, u32 asid, u64 vpn);
/** ps_tlb_flush_range - forget the entries that translate any page of [@vpn, @vpn + @npages). Return: how many. */
unsigned ps_tlb_flush_range(struct ps_tlb *tlb, u32 asid, u64 vpn, u64 npages);
/** ps_tlb_flush_asid - forget everything of @asid. Return: how many entries. */
unsigned ps_tlb_flush_asid(struct ps_tlb *tlb, u32 asid);
/** ps_tlb_flush_all - forget everything. */
void ps_tlb_flush_all(struct ps_tlb *tlb);

/** struct ps_tlb_item - one entry as iteration shows it: @vpn and the frame @pfn of its first page, @npages covered. */
struct ps_tlb_item {
	u32 asid;
	u64 vpn;
	u64 npages;
	pfn_t pfn;
	nid_t nid;
	u64 flags;
};

/**
 * ps_tlb_next - iterate: set *@cursor to 0, call until it returns false. Every entry is seen once, in a fixed order.
 * Context: no operation on @tlb in between.
 */
bool ps_tlb_next(const struct ps_tlb *tlb, u32 *cursor, struct ps_tlb_item *ret);

/** ps_tlb_counts - lookups by outcome since the TLB was made. */
void ps_tlb_counts(const struct ps_tlb *tlb, struct ps_tlb_counts *ret);

/** ps_tlb_geometry_check - can this be built? Return: NULL, or what is wrong with it, in words. */
const char *ps_tlb_geometry_check(const struct ps_tlb_geometry *geometry);

/**
 * ps_tlb_init - an empty TLB. @geometry NULL or all zero = Skylake's. @huge_shift: pt_bits of the machine.
 * Return: 0, -EINVAL (ps_tlb_geometry_check), -ENOMEM. Context: may allocate.
 */
int ps_tlb_init(struct ps_tlb *tlb, const struct ps_tlb_geometry *geometry, unsigned huge_shift);
/** ps_tlb_destroy - gives back what ps_tlb_init took; an all-zero TLB is fine. */
void ps_tlb_destroy(struct ps_tlb *tlb);

#ifdef __cplusplus
}
#endif

#endif
