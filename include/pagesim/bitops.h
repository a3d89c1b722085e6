/* SPDX-License-Identifier: MIT */
/*
 * Atomic bits: one bit of a shared word, by the kernel's names. Each is one schedule point on the word. The variants
 * with __ in front (bitmap.h) are plain and not points: for words nobody else can see.
 *
 * Orders, natively: set_bit, clear_bit and change_bit relaxed; test_and_* sequentially consistent; *_lock acquire;
 * *_unlock release; test_bit relaxed, test_bit_acquire acquire.
 *
 * Context of all: any task. Fidelity of all: exact, as atomic.h.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_BITOPS_H
#define PAGESIM_BITOPS_H

#include <pagesim/bitmap.h>
#include <pagesim/sched_point.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef PS_NATIVE
#define PS_FETCH_OR(p, m, order)  __atomic_fetch_or((p), (m), (order))
#define PS_FETCH_AND(p, m, order) __atomic_fetch_and((p), (m), (order))
#define PS_FETCH_XOR(p, m, order) __atomic_fetch_xor((p), (m), (order))
#define PS_LOAD_WORD(p, order)    __atomic_load_n((p), (order))
#else
static inline unsigned long ps_fetch_or(unsigned long *p, unsigned long m)
{
	unsigned long old = *p;

	*p = old | m;
	return old;
}

static inline unsigned long ps_fetch_and(unsigned long *p, unsigned long m)
{
	unsigned long old = *p;

	*p = old & m;
	return old;
}

static inline unsigned long ps_fetch_xor(unsigned long *p, unsigned long m)
{
	unsigned long old = *p;

	*p = old ^ m;
	return old;
}
#define PS_FETCH_OR(p, m, order)  ps_fetch_or((p), (m))
#define PS_FETCH_AND(p, m, order) ps_fetch_and((p), (m))
#define PS_FETCH_XOR(p, m, order) ps_fetch_xor((p), (m))
#define PS_LOAD_WORD(p, order)    (*(p))
#endif

static inline bool test_bit(unsigned long nr, const unsigned long *addr)
{
	ps_point(PS_POINT_READ, addr + BIT_WORD(nr));
	return (PS_LOAD_WORD(addr + BIT_WORD(nr), __ATOMIC_RELAXED) >> (nr % BITS_PER_LONG)) & 1;
}

static inline bool test_bit_acquire(unsigned long nr, const unsigned long *addr)
{
	ps_point(PS_POINT_READ, addr + BIT_WORD(nr));
	return (PS_LOAD_WORD(addr + BIT_WORD(nr), __ATOMIC_ACQUIRE) >> (nr % BITS_PER_LONG)) & 1;
}

static inline void set_bit(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RMW, addr + BIT_WORD(nr));
	(void)PS_FETCH_OR(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_RELAXED);
}

static inline void clear_bit(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RMW, addr + BIT_WORD(nr));
	(void)PS_FETCH_AND(addr + BIT_WORD(nr), ~BIT_MASK(nr), __ATOMIC_RELAXED);
}

static inline void change_bit(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RMW, addr + BIT_WORD(nr));
	(void)PS_FETCH_XOR(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_RELAXED);
}

static inline bool test_and_set_bit(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RMW, addr + BIT_WORD(nr));
	return (PS_FETCH_OR(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_SEQ_CST) & BIT_MASK(nr)) != 0;
}

static inline bool test_and_clear_bit(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RMW, addr + BIT_WORD(nr));
	return (PS_FETCH_AND(addr + BIT_WORD(nr), ~BIT_MASK(nr), __ATOMIC_SEQ_CST) & BIT_MASK(nr)) != 0;
}

static inline bool test_and_change_bit(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RMW, addr + BIT_WORD(nr));
	return (PS_FETCH_XOR(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_SEQ_CST) & BIT_MASK(nr)) != 0;
}

/** Pairs with clear_bit_unlock(). */
static inline bool test_and_set_bit_lock(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_TRY, addr + BIT_WORD(nr));
	return (PS_FETCH_OR(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_ACQUIRE) & BIT_MASK(nr)) != 0;
}

/** Pairs with test_and_set_bit_lock(). */
static inline void clear_bit_unlock(unsigned long nr, unsigned long *addr)
{
	ps_point(PS_POINT_RELEASE, addr + BIT_WORD(nr));
	(void)PS_FETCH_AND(addr + BIT_WORD(nr), ~BIT_MASK(nr), __ATOMIC_RELEASE);
}

#ifdef __cplusplus
}
#endif

#endif
