/* SPDX-License-Identifier: MIT */
/*
 * Where tables live and how an address finds its entry.
 *
 * Tables come from chunks of 2 MiB, aligned to their size:
 *
 *        chunk  +--------------------------+  0
 *               | header                   |
 *               | descriptor 0, 1, 2, ...  |  one per table slot
 *               +--------------------------+  first slot
 *               | table (4 KiB)            |
 *               | table                    |
 *               | ...                      |
 *
 * so a table's descriptor is found from the table's address by arithmetic, an upper entry can hold the table's address
 * itself, and the walk touches nothing but tables.
 *
 * Invariants
 *   T1  A table reachable from a PGD is reachable by exactly one path.
 *   T2  A free table, and one just allocated, holds only none entries.
 *   T3  nr_ptes counts the PTE tables hung into the tree or deposited behind a huge PMD.
 *
 * What Linux does differently: a table is a simulated frame there, charged to the node it lies on.
 */
#include <pagesim/pgtable.h>

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/barrier.h>
#include <pagesim/bug.h>
#include <pagesim/tlbflush.h>

#define CHUNK_BYTES (2UL << 20)
#define TABLE_BYTES 4096UL

/* What is known of one table. */
struct ptdesc {
	spinlock_t ptl;        /* the split lock: of the table's entries */
	struct list_head link; /* free list of the pool (pool->lock), or among the deposits of a PMD table (its ptl) */
	struct list_head deposits; /* of a PMD table: spare tables of its huge entries; ptl */
	struct ptdesc *next_taken; /* private to who took the table out of the tree */
};

struct chunk {
	struct list_head link;
	struct page_table_pool *pool;
	unsigned int first_slot;
	struct ptdesc desc[];
};

struct page_table_pool {
	spinlock_t lock;
	struct list_head chunks; /* lock */
	struct list_head free;   /* of ptdesc; lock */
	unsigned int bits;       /* set once */
	long live;               /* written under lock */
	size_t bytes;            /* written under lock */
};

#define SLOTS ((unsigned int)(CHUNK_BYTES / TABLE_BYTES))

static struct chunk *chunk_of(const void *table)
{
	return (struct chunk *)((uintptr_t)table & ~(CHUNK_BYTES - 1));
}

static struct ptdesc *desc_of(const void *entry)
{
	struct chunk *chunk = chunk_of(entry);

	return &chunk->desc[((uintptr_t)entry - (uintptr_t)chunk) / TABLE_BYTES];
}

static u64 *table_of(struct ptdesc *desc)
{
	struct chunk *chunk = chunk_of(desc);

	return (u64 *)((char *)chunk + (size_t)(desc - chunk->desc) * TABLE_BYTES);
}

struct page_table_pool *page_table_pool_new(unsigned int bits)
{
	struct page_table_pool *pool = ps_zalloc(sizeof(*pool));

	if (!pool)
		return NULL;
	spin_lock_init(&pool->lock, LEAF_LOCK);
	INIT_LIST_HEAD(&pool->chunks);
	INIT_LIST_HEAD(&pool->free);
	pool->bits = bits;
	return pool;
}

void page_table_pool_free(struct page_table_pool *pool)
{
	struct chunk *chunk, *next;

	if (!pool)
		return;
	list_for_each_entry_safe(chunk, next, &pool->chunks, link)
		ps_free(chunk);
	ps_free(pool);
}

long page_table_pool_live(const struct page_table_pool *pool)
{
	return READ_ONCE(pool->live);
}

size_t page_table_pool_bytes(const struct page_table_pool *pool)
{
	return READ_ONCE(pool->bytes);
}

/* Context: pool->lock is held. */
static int pool_grow(struct page_table_pool *pool)
{
	struct chunk *chunk = ps_alloc_aligned(CHUNK_BYTES, CHUNK_BYTES);
	size_t head = sizeof(*chunk) + SLOTS * sizeof(struct ptdesc);
	unsigned int i;

	if (!chunk)
		return -ENOMEM;
	memset(chunk, 0, sizeof(*chunk));
	chunk->pool = pool;
	chunk->first_slot = (unsigned int)((head + TABLE_BYTES - 1) / TABLE_BYTES);
	for (i = SLOTS; i-- > chunk->first_slot;) {
		struct ptdesc *desc = &chunk->desc[i];

		spin_lock_init(&desc->ptl, PTE_LOCK);
		INIT_LIST_HEAD(&desc->deposits);
		list_add(&desc->link, &pool->free);
	}
	list_add_tail(&chunk->link, &pool->chunks);
	WRITE_ONCE(pool->bytes, pool->bytes + CHUNK_BYTES);
	return 0;
}

static u64 *table_alloc(struct page_table_pool *pool, enum lock_class class)
{
	struct ptdesc *desc = NULL;
	u64 *table;

	spin_lock(&pool->lock);
	if (!list_empty(&pool->free) || !pool_grow(pool)) {
		desc = list_first_entry(&pool->free, struct ptdesc, link);
		list_del_init(&desc->link);
		WRITE_ONCE(pool->live, pool->live + 1);
	}
	spin_unlock(&pool->lock);
	if (!desc)
		return NULL;
	spin_lock_init(&desc->ptl, class);
	table = table_of(desc);
	memset(table, 0, sizeof(u64) << pool->bits);
	return table;
}

static void table_free(struct page_table_pool *pool, void *table)
{
	struct ptdesc *desc = desc_of(table);

	VM_BUG_ON(!list_empty(&desc->deposits));
	spin_lock(&pool->lock);
	list_add(&desc->link, &pool->free);
	WRITE_ONCE(pool->live, pool->live - 1);
	spin_unlock(&pool->lock);
}

int page_tables_init(struct page_tables *pt, struct page_table_pool *pool, u32 asid)
{
	memset(pt, 0, sizeof(*pt));
	pt->pool = pool;
	pt->bits = (u8)pool->bits;
	pt->asid = asid;
	spin_lock_init(&pt->page_table_lock, PAGE_TABLE_LOCK);
	pt->pgd = table_alloc(pool, PAGE_TABLE_LOCK);
	return pt->pgd ? 0 : -ENOMEM;
}

static void *entry_table(u64 entry)
{
	return (void *)(uintptr_t)(entry & _PAGE_TABLE_MASK);
}

static unsigned int level_shift(const struct page_tables *pt, unsigned int level)
{
	return PAGE_SHIFT + level * pt->bits;
}

/* Levels: 0 holds PTEs, 1 PMDs, 2 PUDs, 3 PGDs. */
static void count_table(struct page_tables *pt, unsigned int level, long delta)
{
	if (level == 0)
		atomic_long_add(delta, &pt->nr_ptes);
	else if (level == 1)
		atomic_long_add(delta, &pt->nr_pmds);
	else
		atomic_long_add(delta, &pt->nr_puds);
}

/* Upper entries: read without a lock, like hardware does, and set once the table below is ready (smp_store_release). */
static u64 upper_get(const u64 *entryp)
{
	return smp_load_acquire(entryp);
}

static void upper_set(u64 *entryp, u64 entry)
{
	smp_store_release(entryp, entry);
}

/* What of an address space is given back: tables of [start, end), if all that they cover lies in [floor, ceiling). */
struct free_range {
	u64 start, end, floor, ceiling;
};

/* The entries of a table at `base` that [start, end) touches: from *ret_first on, before *ret_end. */
static void entries_touched(const struct page_tables *pt, unsigned int level, u64 base, const struct free_range *range,
			    unsigned int *ret_first, unsigned int *ret_end)
{
	unsigned int shift = level_shift(pt, level);
	u64 n = 1ULL << pt->bits, span = range->end > base ? range->end - base : 0;

	*ret_first = range->start > base ? (unsigned int)ps_min((range->start - base) >> shift, n) : 0;
	*ret_end = (unsigned int)ps_min((span + (1ULL << shift) - 1) >> shift, n);
}

/* Takes out the tables below *entryp, a table of `level` that begins at `base`; clears the entry when its own table went. */
static void take_level(struct page_tables *pt, u64 *entryp, unsigned int level, u64 base,
		       const struct free_range *range, struct pgtables_taken *taken)
{
	u64 *table = (u64 *)entry_table(*entryp), used = 0;
	struct ptdesc *desc = desc_of(table);
	u64 step = 1ULL << level_shift(pt, level);
	unsigned int n = 1U << pt->bits, i, end;

	if (level > 0) {
		entries_touched(pt, level, base, range, &i, &end);
		for (; i < end; i++)
			if (upper_get(&table[i]) & _PAGE_TABLE)
				take_level(pt, &table[i], level - 1, base + i * step, range, taken);
	}
	if (base < range->floor || base + n * step > range->ceiling)
		return;
	for (i = 0; i < n; i++)
		used |= table[i];
	BUG_ON(used);
	upper_set(entryp, 0);
	count_table(pt, level, -1);
	if (taken->start >= taken->end)
		taken->start = base;
	taken->start = ps_min(taken->start, base);
	taken->end = ps_max(taken->end, base + PAGE_SIZE);
	desc->next_taken = (struct ptdesc *)taken->first;
	taken->first = desc;
}

void pgtables_take(struct page_tables *pt, u64 start, u64 end, u64 floor, u64 ceiling, struct pgtables_taken *taken)
{
	const struct free_range range = { .start = start, .end = end, .floor = floor, .ceiling = ceiling };
	u64 step = 1ULL << level_shift(pt, 3);
	unsigned int i, last;

	entries_touched(pt, 3, 0, &range, &i, &last);
	for (; i < last; i++)
		if (upper_get(&pt->pgd[i]) & _PAGE_TABLE)
			take_level(pt, &pt->pgd[i], 2, i * step, &range, taken);
}

void pgtables_give_back(struct page_tables *pt, struct pgtables_taken *taken)
{
	struct ptdesc *desc, *next;

	for (desc = (struct ptdesc *)taken->first; desc; desc = next) {
		next = desc->next_taken;
		table_free(pt->pool, table_of(desc));
	}
	*taken = (struct pgtables_taken){ NULL, 0, 0 };
}

void free_pgd_range(struct page_tables *pt, u64 start, u64 end, u64 floor, u64 ceiling)
{
	struct pgtables_taken taken = { NULL, 0, 0 };

	pgtables_take(pt, start, end, floor, ceiling, &taken);
	if (taken.first)
		flush_tlb_range(pt, taken.start, taken.end);
	pgtables_give_back(pt, &taken);
}

void free_pgtables(struct page_tables *pt, u64 start, u64 end)
{
	free_pgd_range(pt, start, end, start, end);
}

void page_tables_destroy(struct page_tables *pt)
{
	if (!pt->pgd)
		return;
	free_pgtables(pt, 0, task_size(pt));
	WARN_ON(atomic_long_read(&pt->nr_ptes) || atomic_long_read(&pt->nr_pmds) || atomic_long_read(&pt->nr_puds));
	table_free(pt->pool, pt->pgd);
	pt->pgd = NULL;
}

static unsigned int level_index(const struct page_tables *pt, u64 addr, unsigned int level)
{
	return (unsigned int)((addr >> level_shift(pt, level)) & ((1U << pt->bits) - 1));
}

pmd_t *pmd_find(const struct page_tables *pt, u64 addr)
{
	u64 pgd, pud;

	if (unlikely(addr >= task_size(pt)))
		return NULL;
	pgd = upper_get(&pt->pgd[level_index(pt, addr, 3)]);
	if (!pgd)
		return NULL;
	pud = upper_get(&((u64 *)entry_table(pgd))[level_index(pt, addr, 2)]);
	if (!pud)
		return NULL;
	return (pmd_t *)entry_table(pud) + level_index(pt, addr, 1);
}

/* The table below *entryp, made if there is none. `level` is the new table's. */
static u64 *table_get(struct page_tables *pt, u64 *entryp, unsigned int level)
{
	u64 entry = upper_get(entryp);
	u64 *table;

	if (likely(entry))
		return (u64 *)entry_table(entry);
	table = table_alloc(pt->pool, level == 1 ? PMD_LOCK : PAGE_TABLE_LOCK);
	if (!table)
		return NULL;
	spin_lock(&pt->page_table_lock);
	entry = *entryp;
	if (!entry) {
		count_table(pt, level, 1);
		upper_set(entryp, (u64)(uintptr_t)table | _PAGE_TABLE);
	}
	spin_unlock(&pt->page_table_lock);
	if (entry) {
		table_free(pt->pool, table);
		return (u64 *)entry_table(entry);
	}
	return table;
}

pmd_t *pmd_alloc(struct page_tables *pt, u64 addr)
{
	u64 *table;

	if (unlikely(addr >= task_size(pt)))
		return NULL;
	table = table_get(pt, &pt->pgd[level_index(pt, addr, 3)], 2);
	if (!table)
		return NULL;
	table = table_get(pt, &table[level_index(pt, addr, 2)], 1);
	if (!table)
		return NULL;
	return (pmd_t *)table + level_index(pt, addr, 1);
}

pmd_t *pmd_next(const struct page_tables *pt, u64 *addr, u64 end)
{
	const unsigned int last = (1U << pt->bits) - 1;
	u64 at = *addr;

	end = ps_min(end, task_size(pt));
	while (at < end) {
		u64 entry = upper_get(&pt->pgd[level_index(pt, at, 3)]);
		unsigned int level = 3;
		u64 *table;

		if (entry) {
			table = (u64 *)entry_table(entry);
			entry = upper_get(&table[level_index(pt, at, 2)]);
			level = 2;
		}
		if (entry && level == 2) {
			unsigned int i = level_index(pt, at, 1);

			table = (u64 *)entry_table(entry);
			for (; i <= last && at < end; i++) {
				if (READ_ONCE(table[i])) {
					*addr = at;
					return (pmd_t *)&table[i];
				}
				at = (at + pmd_size(pt)) & pmd_mask(pt);
			}
			continue;
		}
		at = ((at >> level_shift(pt, level)) + 1) << level_shift(pt, level);
	}
	return NULL;
}

spinlock_t *pmd_lockptr(const struct page_tables *pt, const pmd_t *pmdp)
{
	(void)pt;
	return &desc_of(pmdp)->ptl;
}

spinlock_t *pte_lockptr(const struct page_tables *pt, pmd_t pmd)
{
	(void)pt;
	return &desc_of(pmd_pte_table(pmd))->ptl;
}

pte_t *pte_offset_map_lock(const struct page_tables *pt, pmd_t *pmdp, u64 addr, spinlock_t **ptlp)
{
	pmd_t pmd = pmdp_get(pmdp);
	spinlock_t *ptl = pte_lockptr(pt, pmd);

	spin_lock(ptl);
	*ptlp = ptl;
	return pte_offset_map(pt, pmd, addr);
}

pte_t *pte_alloc_one(struct page_tables *pt)
{
	return (pte_t *)table_alloc(pt->pool, PTE_LOCK);
}

void pte_free(struct page_tables *pt, pte_t *table)
{
	if (table)
		table_free(pt->pool, table);
}

void mm_inc_nr_ptes(struct page_tables *pt)
{
	atomic_long_inc(&pt->nr_ptes);
}

void mm_dec_nr_ptes(struct page_tables *pt)
{
	atomic_long_dec(&pt->nr_ptes);
}

void pmd_populate(struct page_tables *pt, pmd_t *pmdp, pte_t *table)
{
	(void)pt;
	set_pmd_at(pmdp, __pmd((u64)(uintptr_t)table | _PAGE_TABLE));
}

int pte_alloc(struct page_tables *pt, pmd_t *pmdp)
{
	pte_t *table;
	spinlock_t *ptl;

	if (likely(!pmd_none(pmdp_get(pmdp))))
		return 0;
	table = pte_alloc_one(pt);
	if (!table)
		return -ENOMEM;
	ptl = pmd_lock(pt, pmdp);
	if (pmd_none(pmdp_get(pmdp))) {
		mm_inc_nr_ptes(pt);
		pmd_populate(pt, pmdp, table);
		table = NULL;
	}
	spin_unlock(ptl);
	pte_free(pt, table);
	return 0;
}

void pgtable_trans_huge_deposit(struct page_tables *pt, pmd_t *pmdp, pte_t *table)
{
	(void)pt;
	list_add(&desc_of(table)->link, &desc_of(pmdp)->deposits);
}

pte_t *pgtable_trans_huge_withdraw(struct page_tables *pt, pmd_t *pmdp)
{
	struct ptdesc *desc = list_first_entry(&desc_of(pmdp)->deposits, struct ptdesc, link);

	(void)pt;
	list_del_init(&desc->link);
	return (pte_t *)table_of(desc);
}

unsigned long pgtable_trans_huge_deposits(const pmd_t *pmdp)
{
	const struct list_head *deposits = &desc_of(pmdp)->deposits, *at;
	unsigned long n = 0;

	list_for_each(at, deposits)
		n++;
	return n;
}
