/* SPDX-License-Identifier: MIT */
/*
 * The two-level TLB of one CPU: a small first level for base pages, one for huge pages, and a unified second level,
 * each set associative with true LRU replacement, tagged by address space. A lookup says in one word which frame, which
 * node, which permissions and at which level it hit, so that the hot path of an access needs neither the page table nor
 * struct page.
 *
 * Names in this file:
 *   vpn   - virtual page number, virtual address / PAGE_SIZE
 *   asid  - number of the address space (an mm's id), 1 .. PS_TLB_MAX_ASID
 *   word  - what a lookup returns and an entry holds: PFN, node and PS_TLB_* flags; 0 = miss
 *   tag   - asid, page size and page number of an entry in one u64; 0 = no entry
 *
 * The second level is inclusive: what is in a first level is in the second, and carries the bit PS_TLB_L1. So one probe
 * decides hit or miss, the bit decides the level, and the first level itself is only a replacement order per set with
 * the place of each entry:
 *
 *      L1 set                        L2 set (5 host cache lines, the first answers most questions)
 *     +---------------------+       +-----------------------------+----------------+----------------
 *     | age of each way     |       | 16 bits of each way's tag   | age of each    | tag, word of
 *     | place of each way --+-----> | (one compare finds a hit)   | way            | each way ...
 *     +---------------------+       +-----------------------------+----------------+----------------
 *
 * Ages of a set are a permutation: 0 = used last, ways - 1 = next victim. Invalid ways are always the oldest, so the
 * victim is always the way with the greatest age.
 *
 * What hardware does differently: second levels are mostly not inclusive and their LRU is approximate; sets are chosen
 * by a hash on some CPUs, here by the low bits of the page number; there is no separate instruction TLB and no page walk
 * cache (its effect is in the cost of a walk step).
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

#define PS_TLB_MAX_ASID ((1u << 26) - 1)
#define PS_TLB_PFN_BITS 36
#define PS_TLB_PFN_MASK ((1ull << PS_TLB_PFN_BITS) - 1)
#define PS_TLB_NID_SHIFT 36
/* Flags of a word. */
#define PS_TLB_VALID (1ull << 42)
/** A huge page: PFN of its first frame, entry covers 1 << pt_bits pages. */
#define PS_TLB_HUGE  (1ull << 43)
/** The entry was writable. */
#define PS_TLB_WRITE (1ull << 44)
/** The entry was dirty: a store through it needs no walk. */
#define PS_TLB_DIRTY (1ull << 45)
/** In the first level (of a lookup's word: before this lookup). */
#define PS_TLB_L1    (1ull << 46)
#define PS_TLB_L1_WAY_SHIFT 47

/** Free for the user: kept as inserted. */
#define PS_TLB_USER  (1ull << 50)

#define PS_TLB_L1_WAYS 8
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
	u8 age[PS_TLB_L2_WAYS];
	u8 reserved[16];
	struct ps_tlb_entry way[PS_TLB_L2_WAYS];
};

struct ps_tlb_l1_set {
	/* One byte per way, 0x7f where there is no such way. */
	u64 age;
	/* L2 set * PS_TLB_L2_WAYS + way + 1; 0 = none. */
	u16 place[PS_TLB_L1_WAYS];
	u64 reserved;
};

/** struct ps_tlb - one CPU's TLB. Read the counters with ps_tlb_counts. */
struct ps_tlb {
	struct ps_tlb_l2_set *l2;
	struct ps_tlb_l1_set *l1;
	u32 l2_mask;
	u32 l1_mask[2];  /* [huge] */
	u32 l1_first[2]; /* [huge]: first set in l1 */
	u8 l1_ways[2];
	u8 l2_ways;
	u8 huge_shift; /* pt_bits */
	u32 nr_huge;   /* huge entries present */
	u32 lock;      /* native build only */
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
	u64 inside = (0 - (u64)!!(word & PS_TLB_HUGE)) & ((1ull << tlb->huge_shift) - 1);

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
typedef u8 ps_v16u8 __attribute__((vector_size(16)));
typedef s16 ps_v8s16 __attribute__((vector_size(16)));
#endif

/* Bit w set: the 16 bits of way w's tag are @partial. */
static inline u32 ps_tlb_candidates(const struct ps_tlb_l2_set *set, u16 partial)
{
#ifdef __SSE2__
	s16 p = (s16)partial;
	ps_v8s16 want = {p, p, p, p, p, p, p, p};
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

/* The way of @set that holds @tag, or -1. */
static inline int ps_tlb_find(const struct ps_tlb_l2_set *set, u64 tag)
{
	u32 mask = ps_tlb_candidates(set, ps_tlb_partial(tag));

	while (mask) {
		int way = __builtin_ctz(mask);

		if (likely(set->way[way].tag == tag))
			return way;
		mask &= mask - 1;
	}
	return -1;
}

/* Way @way of the set becomes the one used last: who was younger ages by one. */
static inline void ps_tlb_l2_use(struct ps_tlb_l2_set *set, unsigned way)
{
#ifdef __SSE2__
	static const ps_v16u8 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	ps_v16u8 *age = (ps_v16u8 *)(void *)set->age, old = *age;
	u8 a = set->age[way], w = (u8)way;
	ps_v16u8 mine = {a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a};
	ps_v16u8 self = {w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w};

	*age = (old - (ps_v16u8)(old < mine)) & ~(ps_v16u8)(lane == self);
#else
	u8 a = set->age[way];

	for (unsigned w = 0; w < PS_TLB_L2_WAYS; w++)
		set->age[w] = (u8)(set->age[w] + (set->age[w] < a));
	set->age[way] = 0;
#endif
}

/* The same for a first-level set, eight ages in one word; an age has no bit 7. */
static inline void ps_tlb_l1_use(struct ps_tlb_l1_set *set, unsigned way)
{
	const u64 ones = 0x0101010101010101ull, tops = ones << 7;
	u64 age = set->age, mine = ((age >> (8 * way)) & 0x7f) * ones;
	u64 younger = (~((age | tops) - mine) & tops) >> 7;

	set->age = (age + younger) & ~(0xffull << (8 * way));
}

/* The way of a first-level set used longest ago, of @ways. */
static inline unsigned ps_tlb_l1_victim(const struct ps_tlb_l1_set *set, unsigned ways)
{
	const u64 ones = 0x0101010101010101ull, tops = ones << 7;
	u64 x = set->age ^ (ones * (ways - 1));

	/* The lowest zero byte; bytes below it are not zero, so no borrow reaches it. */
	return (unsigned)__builtin_ctzll((x - ones) & ~x & tops) >> 3;
}

/*
 * The entry at @place is used by way of the first level: it is there afterwards. Without a branch: when it is there
 * already, its own way plays the victim.
 */
static inline void ps_tlb_l1_fill(struct ps_tlb *tlb, unsigned huge, u64 page, u32 place)
{
	struct ps_tlb_l1_set *set = &tlb->l1[tlb->l1_first[huge] + (page & tlb->l1_mask[huge])];
	struct ps_tlb_entry *entry = &tlb->l2[place / PS_TLB_L2_WAYS].way[place % PS_TLB_L2_WAYS];
	u64 word = entry->word;
	unsigned victim = ps_tlb_l1_victim(set, tlb->l1_ways[huge]);
	unsigned own = (unsigned)(word >> PS_TLB_L1_WAY_SHIFT) & 7;
	unsigned way = word & PS_TLB_L1 ? own : victim;
	u32 old = set->place[way];
	/* Place 0 means none; then the loser is the entry itself, which is written last. */
	u32 loser = old ? old - 1 : place;

	tlb->l2[loser / PS_TLB_L2_WAYS].way[loser % PS_TLB_L2_WAYS].word &= ~PS_TLB_L1;
	set->place[way] = (u16)(place + 1);
	entry->word = (word & ~(7ull << PS_TLB_L1_WAY_SHIFT)) | ((u64)way << PS_TLB_L1_WAY_SHIFT) | PS_TLB_L1;
	ps_tlb_l1_use(set, way);
}

/**
 * ps_tlb_lookup - translate page @vpn of address space @asid.
 * A hit counts as a use at both levels, and brings an entry that was only in the second level into the first.
 * Return: the entry's word, or 0. PS_TLB_L1 in it says that the first level had it. A store may proceed without a walk
 * when both PS_TLB_WRITE and PS_TLB_DIRTY are set.
 * Fidelity: simplified (hardware).
 */
static inline u64 ps_tlb_lookup(struct ps_tlb *tlb, u32 asid, u64 vpn)
{
	unsigned huge = 0;
	u64 page = vpn, word;
	u32 set;
	int way;

	ps_tlb_lock(tlb);
	tlb->lookups++;
	set = (u32)page & tlb->l2_mask;
	way = ps_tlb_find(&tlb->l2[set], ps_tlb_tag(asid, page, 0));
	if (way < 0 && tlb->nr_huge) {
		huge = 1;
		page = vpn >> tlb->huge_shift;
		set = (u32)page & tlb->l2_mask;
		way = ps_tlb_find(&tlb->l2[set], ps_tlb_tag(asid, page, 1));
	}
	if (way < 0) {
		tlb->misses++;
		ps_tlb_unlock(tlb);
		return 0;
	}
	word = tlb->l2[set].way[way].word;
	tlb->l1_hits += !!(word & PS_TLB_L1);
	ps_tlb_l2_use(&tlb->l2[set], (unsigned)way);
	ps_tlb_l1_fill(tlb, huge, page, set * PS_TLB_L2_WAYS + (u32)way);
	ps_tlb_unlock(tlb);
	return word;
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
