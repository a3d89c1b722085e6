/* SPDX-License-Identifier: MIT */
/*
 * The xarray: a sparse array of pointers, indexed by an unsigned long, with three mark bits per entry and with entries
 * that cover an aligned power of two of indices. It is the page cache's index. Readers walk it under RCU only; writers
 * hold the array's spinlock; every slot is loaded and stored through the runtime, one schedule point each, so that a
 * reader can be stopped between any two slots of a walk and between any two slots a writer fills.
 *
 * Layer: cache
 *
 * Names
 *	slot	a word in a node (or the head of the array) that holds an entry
 *	entry	what a slot holds: see the table
 *	node	1 << chunk_shift slots, all of one level; level 0 holds single indices
 *	shift	log2 of the number of indices one slot of a node covers
 *	mark	one of XA_MARK_0..2; a node's bit says that something below the slot has the mark
 *	order	an entry of order n covers 2^n indices, aligned. It sits on the level with the greatest shift not
 *		above n; where it needs 2^(n - shift) slots, the first holds the entry (canonical slot) and the others
 *		are siblings: they hold the offset of the first. Only the canonical slot's marks are set.
 *
 * Entries (two low bits)
 *	00	a pointer, or NULL
 *	10	internal; never seen by users of the normal interface. The rest of the word is
 *		0..62	sibling: offset of the canonical slot
 *		256	retry: this slot moved while you looked, start again from the head
 *		257	zero: reserved, reads as NULL
 *		-errno	an error (only as a return value)
 *		else	the address of a node (nodes are above 4096 and 4 byte aligned)
 *	x1	a value of 63 bits (xa_mk_value)
 *
 * Two interfaces. The normal one (xa_*) takes the lock and the RCU read lock itself. The advanced one (xas_*) works on
 * a cursor, struct xa_state, and leaves locking to the caller: xas_lock for writing, rcu_read_lock or the lock for
 * reading; it shows internal entries to its caller (test with xas_retry).
 *
 * Memory is asked for while the lock is held and may be refused: the cursor then carries -ENOMEM, xas_nomem allocates
 * outside the lock and says whether to try again.
 *
 * Fidelity: exact in structure, order of slot stores, and results (the kernel's lib/xarray.c); the number of slots per
 * node is a property of the array (1 << 6 by default, as the kernel's), so that small machines have deep trees.
 */
#ifndef PAGESIM_XARRAY_H
#define PAGESIM_XARRAY_H

#include <limits.h>

#include <pagesim/rcu.h>
#include <pagesim/runtime.h>
#include <pagesim/spinlock.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XA_CHUNK_SHIFT_MAX 6
#define XA_CHUNK_SIZE_MAX  (1U << XA_CHUNK_SHIFT_MAX)

typedef unsigned int xa_mark_t;
#define XA_MARK_0    ((xa_mark_t)0)
#define XA_MARK_1    ((xa_mark_t)1)
#define XA_MARK_2    ((xa_mark_t)2)
#define XA_MAX_MARKS 3
/** Not a mark: "any entry", where a filter is asked for. */
#define XA_PRESENT ((xa_mark_t)8)

/** An array. Lock: xa_lock for everything; xa_head is read under RCU. */
struct xarray {
	spinlock_t xa_lock;
	u8 xa_chunk_shift;     /* log2 of the slots per node, 1..6; constant */
	u8 xa_marks;           /* bit m: some entry of the array has mark m */
	void *xa_head;         /* NULL, the entry of index 0 (if nothing else is stored), or the top node */
	unsigned int xa_nodes; /* nodes in the tree, for the validator and for memory reports */
};

/** A node. Lock: xa_lock to change; slots are read under RCU; freed by call_rcu. */
struct xa_node {
	u8 shift;     /* log2 of the indices per slot */
	u8 offset;    /* slot in the parent */
	u8 count;     /* slots that are not NULL, siblings included */
	u8 nr_values; /* of those: value entries and their siblings */
	struct xa_node *parent;
	struct xarray *array;
	struct rcu_head rcu_head;
	u64 marks[XA_MAX_MARKS];
	void *slots[XA_CHUNK_SIZE_MAX]; /* only 1 << array->xa_chunk_shift are allocated */
};

/* ---- entries ---- */

static inline void *xa_mk_value(unsigned long v)
{
	return (void *)((v << 1) | 1);
}

static inline unsigned long xa_to_value(const void *entry)
{
	return (unsigned long)entry >> 1;
}

static inline bool xa_is_value(const void *entry)
{
	return (unsigned long)entry & 1;
}

static inline void *xa_mk_internal(unsigned long v)
{
	return (void *)((v << 2) | 2);
}

static inline unsigned long xa_to_internal(const void *entry)
{
	return (unsigned long)entry >> 2;
}

static inline bool xa_is_internal(const void *entry)
{
	return ((unsigned long)entry & 3) == 2;
}

#define XA_RETRY_ENTRY xa_mk_internal(256)
#define XA_ZERO_ENTRY  xa_mk_internal(257)

static inline bool xa_is_zero(const void *entry)
{
	return entry == XA_ZERO_ENTRY;
}

static inline bool xa_is_retry(const void *entry)
{
	return entry == XA_RETRY_ENTRY;
}

static inline bool xa_is_sibling(const void *entry)
{
	return xa_is_internal(entry) && (unsigned long)entry < (unsigned long)xa_mk_internal(XA_CHUNK_SIZE_MAX - 1);
}

static inline bool xa_is_node(const void *entry)
{
	return xa_is_internal(entry) && (unsigned long)entry > 4096;
}

static inline bool xa_is_advanced(const void *entry)
{
	return xa_is_internal(entry) && entry <= XA_RETRY_ENTRY;
}

/** True if @entry is an error a normal-interface function returned. */
static inline bool xa_is_err(const void *entry)
{
	return xa_is_internal(entry) && (unsigned long)entry >= (unsigned long)xa_mk_internal((unsigned long)-4095);
}

/** The -errno in @entry, or 0 if it is no error. */
static inline int xa_err(const void *entry)
{
	return xa_is_err(entry) ? (int)((long)entry >> 2) : 0;
}

/* ---- the array ---- */

/** Ready to use, 64 slots per node. */
void xa_init(struct xarray *xa);

/**
 * Ready to use, 1 << @chunk_shift slots per node (1..6).
 * Fidelity: simplified: the kernel's chunk is a constant of the build (6, or 4 for CONFIG_BASE_SMALL).
 */
void xa_init_chunk(struct xarray *xa, unsigned int chunk_shift);

/** Removes all entries and frees all nodes; what the entries point to is the caller's. Context: takes xa_lock. */
void xa_destroy(struct xarray *xa);

static inline bool xa_empty(const struct xarray *xa)
{
	return rcu_dereference(xa->xa_head) == NULL;
}

/** Some entry of the array has @mark. Context: any; a snapshot. */
bool xa_marked(const struct xarray *xa, xa_mark_t mark);

#define xa_lock(xa)       spin_lock(&(xa)->xa_lock)
#define xa_unlock(xa)     spin_unlock(&(xa)->xa_lock)
#define xa_trylock(xa)    spin_trylock(&(xa)->xa_lock)
#define xa_lock_irq(xa)   xa_lock(xa)
#define xa_unlock_irq(xa) xa_unlock(xa)

/* ---- normal interface ---- */

/**
 * The entry at @index, or NULL. Beside a writer that splits entries it may be the first piece of the entry that covered
 * @index a moment ago: who cares looks again (xas_reload), as the page cache does.
 * Context: any; takes the RCU read lock.
 */
void *xa_load(struct xarray *xa, unsigned long index);

/**
 * Stores @entry at @index; NULL erases. Overwrites all of a multi-index entry that covers @index. Context: takes
 * xa_lock; allocates. Return: the old entry, or an xa_err: -EINVAL (internal entry), -ENOMEM (nothing changed).
 */
void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
void *__xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);

/** Erases @index (the whole multi-index entry there). Context: takes xa_lock. Return: the old entry or NULL. */
void *xa_erase(struct xarray *xa, unsigned long index);
void *__xa_erase(struct xarray *xa, unsigned long index);

/**
 * Stores @entry if @old is there. Return: what was there (equal to @old: it was stored), or an xa_err. Context: as
 * xa_store.
 */
void *xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp);
void *__xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp);

/**
 * Stores @entry if nothing is there; NULL reserves. Return: 0, -EBUSY (something is there), -ENOMEM, -EINVAL.
 * Context: as xa_store.
 */
int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
int __xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);

/**
 * Makes sure that a later store at @index needs no memory. It reads as NULL until then. Return: 0, -ENOMEM. Context:
 * as xa_store.
 */
int xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp);

/** Gives a reservation back; a stored entry stays. Context: takes xa_lock. */
void xa_release(struct xarray *xa, unsigned long index);

/**
 * Stores @entry at @first..@last (both included), in as few multi-index entries as alignment allows; NULL erases the
 * range. Context: takes xa_lock, drops it to allocate. Return: NULL, or an xa_err (-EINVAL, -ENOMEM: a prefix may be
 * stored).
 */
void *xa_store_range(struct xarray *xa, unsigned long first, unsigned long last, void *entry, gfp_t gfp);

/** The order of the entry at @index, 0 if there is none. Context: takes the RCU read lock. */
int xa_get_order(struct xarray *xa, unsigned long index);

/**
 * Marks of the entry at @index. Setting a mark where nothing is stored does nothing. Context: set/clear take
 * xa_lock, __ forms need it.
 */
bool xa_get_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void __xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void __xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);

/**
 * First entry at *@indexp or above, not above @max, with mark @filter (XA_PRESENT: any). *@indexp becomes its first
 * index at or above the old *@indexp. xa_find_after begins behind the entry at *@indexp. Context: takes the RCU read
 * lock. Return: the entry, or NULL (*@indexp unchanged).
 */
void *xa_find(struct xarray *xa, unsigned long *indexp, unsigned long max, xa_mark_t filter);
void *xa_find_after(struct xarray *xa, unsigned long *indexp, unsigned long max, xa_mark_t filter);

/**
 * Copies at most @n present entries of @start..@max with @filter to @dst. Context: takes the RCU read lock. Return:
 * how many.
 */
unsigned int xa_extract(struct xarray *xa, void **dst, unsigned long start, unsigned long max, unsigned int n,
			xa_mark_t filter);

#define xa_for_each_range(xa, index, entry, start, last)                                    \
	for ((index) = (start), (entry) = xa_find(xa, &(index), last, XA_PRESENT); (entry); \
	     (entry) = xa_find_after(xa, &(index), last, XA_PRESENT))
#define xa_for_each_start(xa, index, entry, start) xa_for_each_range(xa, index, entry, start, ULONG_MAX)
#define xa_for_each(xa, index, entry)              xa_for_each_start(xa, index, entry, 0)
#define xa_for_each_marked(xa, index, entry, filter)                                   \
	for ((index) = 0, (entry) = xa_find(xa, &(index), ULONG_MAX, filter); (entry); \
	     (entry) = xa_find_after(xa, &(index), ULONG_MAX, filter))

/* ---- advanced interface ---- */

/**
 * A cursor. Lives on the stack of one thread. xa_node also says what state it is in: the node it stands on, NULL (on
 * the head), or one of XAS_RESTART (walk from the head at the next call), XAS_BOUNDS (went past the end) and an error.
 */
struct xa_state {
	struct xarray *xa;
	unsigned long xa_index;
	u8 xa_shift;  /* level of the entry to store: a multi-index one is not on level 0 */
	u8 xa_sibs;   /* slots it needs besides the first */
	u8 xa_offset; /* slot of xa_node the cursor is at */
	struct xa_node *xa_node;
	struct xa_node *xa_alloc; /* nodes allocated outside the lock, linked by parent */
};

#define XAS_BOUNDS  ((struct xa_node *)1UL)
#define XAS_RESTART ((struct xa_node *)3UL)

/** A cursor at @index for entries of 1 << @order. */
struct xa_state xa_state_at(struct xarray *xa, unsigned long index, unsigned int order);

#define XA_STATE(name, array, index)              struct xa_state name = xa_state_at(array, index, 0)
#define XA_STATE_ORDER(name, array, index, order) struct xa_state name = xa_state_at(array, index, order)

#define xas_lock(xas)       xa_lock((xas)->xa)
#define xas_unlock(xas)     xa_unlock((xas)->xa)
#define xas_trylock(xas)    xa_trylock((xas)->xa)
#define xas_lock_irq(xas)   xas_lock(xas)
#define xas_unlock_irq(xas) xas_unlock(xas)

static inline bool xas_invalid(const struct xa_state *xas)
{
	return (unsigned long)xas->xa_node & 3;
}

static inline bool xas_valid(const struct xa_state *xas)
{
	return !xas_invalid(xas);
}

/** The error the cursor carries, as -errno, or 0. An operation on a cursor with an error does nothing. */
static inline int xas_error(const struct xa_state *xas)
{
	return xa_err(xas->xa_node);
}

static inline void xas_set_err(struct xa_state *xas, int err)
{
	xas->xa_node = (struct xa_node *)xa_mk_internal((unsigned long)(long)err);
}

/**
 * Forget the position (and an error); the next operation walks from the head. After the lock was dropped this is a
 * must.
 */
static inline void xas_reset(struct xa_state *xas)
{
	xas->xa_node = XAS_RESTART;
}

/** True if @entry is internal (zero or retry) and the caller is to look again; a retry entry also resets the cursor. */
static inline bool xas_retry(struct xa_state *xas, const void *entry)
{
	if (xa_is_zero(entry))
		return true;
	if (!xa_is_retry(entry))
		return false;
	xas_reset(xas);
	cpu_relax(); /* the writer that put it there is in the middle of its work */
	return true;
}

/** Move the cursor to @index, order 0. */
static inline void xas_set(struct xa_state *xas, unsigned long index)
{
	xas->xa_index = index;
	xas->xa_shift = 0;
	xas->xa_sibs = 0;
	xas_reset(xas);
}

/** Move the cursor to the entry of 1 << @order that covers @index. */
void xas_set_order(struct xa_state *xas, unsigned long index, unsigned int order);

/**
 * Walks to the cursor's index. Context: xa_lock or RCU. Return: the entry, NULL, or an internal entry (retry, zero).
 */
void *xas_load(struct xa_state *xas);

/**
 * Reads the slot the cursor stands on again, without a walk: the second look of a speculative lookup. Context: as
 * xas_load.
 */
void *xas_reload(struct xa_state *xas);

/**
 * Stores @entry (NULL erases) over the whole span of the cursor; marks of an entry that was there stay unless it is
 * erased. Context: xa_lock; asks for memory without sleeping. Return: the old first entry. On failure NULL and
 * xas_error: -ENOMEM (see xas_nomem).
 */
void *xas_store(struct xa_state *xas, void *entry);

/**
 * True if the cursor failed for want of memory and there is some now: take the lock and do it again. Context: no
 * xa_lock; allocates.
 */
bool xas_nomem(struct xa_state *xas, gfp_t gfp);

/**
 * Frees what xas_nomem or xas_split_alloc allocated and nothing used. xas_nomem does it when the operation
 * succeeded.
 */
void xas_destroy(struct xa_state *xas);

/**
 * First entry at or behind the cursor, not above @max; again: the next one. Context: xa_lock or RCU. Return: entry,
 * NULL at the end, or internal.
 */
void *xas_find(struct xa_state *xas, unsigned long max);
void *xas_find_marked(struct xa_state *xas, unsigned long max, xa_mark_t mark);

/** The next entry in the cursor's span that is in the way of a store; NULL: no more. Context: xa_lock. */
void *xas_find_conflict(struct xa_state *xas);

/** The cursor to the neighbouring index; NULL entries are returned too. Context: xa_lock or RCU. */
void *xas_next(struct xa_state *xas);
void *xas_prev(struct xa_state *xas);

/**
 * In a loop over xas_find: leaves the cursor so that the lock may be dropped and the loop go on behind the entry
 * just seen.
 */
void xas_pause(struct xa_state *xas);

bool xas_get_mark(const struct xa_state *xas, xa_mark_t mark);
void xas_set_mark(const struct xa_state *xas, xa_mark_t mark);
void xas_clear_mark(const struct xa_state *xas, xa_mark_t mark);
void xas_init_marks(const struct xa_state *xas);

/**
 * Makes all slots that single entries over the cursor's span need: empty nodes, which the caller fills before it drops
 * the lock. Context: xa_lock. On failure xas_error -ENOMEM, nothing changed.
 */
void xas_create_range(struct xa_state *xas);

/**
 * Allocates what splitting the entry of 1 << @order at the cursor into entries of the cursor's order needs. Follow
 * with xas_split, or xas_destroy. Context: no xa_lock; allocates. Return: xas_error -ENOMEM (nothing kept), -EINVAL.
 */
void xas_split_alloc(struct xa_state *xas, void *entry, unsigned int order, gfp_t gfp);

/**
 * Replaces the entry of 1 << @order at the cursor by entries of the cursor's order, each storing @entry and each with
 * the old entry's marks. Every index keeps an entry all the time for a reader that looks again. Context: xa_lock;
 * xas_split_alloc before. Fidelity: exact; any number of levels (the kernel of 6.1 does at most one level below).
 */
void xas_split(struct xa_state *xas, void *entry, unsigned int order);

#define xas_for_each(xas, entry, max) for ((entry) = xas_find(xas, max); (entry); (entry) = xas_next_entry(xas, max))
#define xas_for_each_marked(xas, entry, max, mark) \
	for ((entry) = xas_find_marked(xas, max, mark); (entry); (entry) = xas_find_marked(xas, max, mark))
#define xas_for_each_conflict(xas, entry) while (((entry) = xas_find_conflict(xas)))
#define xas_next_entry(xas, max)          xas_find(xas, max)

/* ---- truth ---- */

/**
 * Checks the whole array: every node's shift, offset, parent, count and nr_values; siblings stand behind their
 * canonical slot, within its aligned span; no empty node; every mark bit of every node and of the array equals a
 * recount.
 * @ret_why: where to write what is wrong, with the index; may be NULL. @why_len: its size in bytes.
 * Context: nobody changes the array. Return: true if all holds.
 */
bool xa_validate(const struct xarray *xa, char *ret_why, size_t why_len);

/** Host bytes of one node of @xa. */
size_t xa_node_bytes(const struct xarray *xa);

#ifdef __cplusplus
}
#endif

#endif
