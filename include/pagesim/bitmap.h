/* SPDX-License-Identifier: MIT */
/*
 * Bits in arrays of unsigned long, not atomic: whoever owns the words says what guards them. The atomic versions, which
 * are schedule points, are in bitops.h. nodemask_t, the one bitmap everybody uses, comes along from nodemask.h.
 *
 * Layer: base
 */
#ifndef PAGESIM_BITMAP_H
#define PAGESIM_BITMAP_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BITS_PER_LONG              64
#define BIT(nr)                    (1UL << (nr))
#define BIT_MASK(nr)               (1UL << ((unsigned long)(nr) % BITS_PER_LONG))
#define BIT_WORD(nr)               ((unsigned long)(nr) / BITS_PER_LONG)
#define BITS_TO_LONGS(nr)          (((nr) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]

/** Number of bits set in a word. */
static inline unsigned int hweight64(u64 w)
{
	return (unsigned int)__builtin_popcountll(w);
}

static inline unsigned int hweight_long(unsigned long w)
{
	return (unsigned int)__builtin_popcountl(w);
}

/** Lowest set bit; undefined for 0. */
static inline unsigned long __ffs(unsigned long w)
{
	return (unsigned long)__builtin_ctzl(w);
}

/** Highest set bit; undefined for 0. */
static inline unsigned long __fls(unsigned long w)
{
	return (unsigned long)(BITS_PER_LONG - 1 - __builtin_clzl(w));
}

/** Highest set bit counted from 1, 0 for 0. */
static inline int fls64(u64 w)
{
	return w ? 64 - __builtin_clzll(w) : 0;
}

/** floor(log2(w)); undefined for 0. */
static inline unsigned int ilog2(u64 w)
{
	return 63u - (unsigned int)__builtin_clzll(w);
}

static inline void __set_bit(unsigned long nr, unsigned long *addr)
{
	addr[BIT_WORD(nr)] |= BIT_MASK(nr);
}

static inline void __clear_bit(unsigned long nr, unsigned long *addr)
{
	addr[BIT_WORD(nr)] &= ~BIT_MASK(nr);
}

static inline void __change_bit(unsigned long nr, unsigned long *addr)
{
	addr[BIT_WORD(nr)] ^= BIT_MASK(nr);
}

static inline bool __test_bit(unsigned long nr, const unsigned long *addr)
{
	return (addr[BIT_WORD(nr)] >> (nr % BITS_PER_LONG)) & 1;
}

static inline bool __test_and_set_bit(unsigned long nr, unsigned long *addr)
{
	bool old = __test_bit(nr, addr);

	__set_bit(nr, addr);
	return old;
}

static inline bool __test_and_clear_bit(unsigned long nr, unsigned long *addr)
{
	bool old = __test_bit(nr, addr);

	__clear_bit(nr, addr);
	return old;
}

/* Every search returns nbits when there is no such bit. */
unsigned long find_next_bit(const unsigned long *map, unsigned long nbits, unsigned long from);
unsigned long find_next_zero_bit(const unsigned long *map, unsigned long nbits, unsigned long from);
unsigned long find_last_bit(const unsigned long *map, unsigned long nbits);

static inline unsigned long find_first_bit(const unsigned long *map, unsigned long nbits)
{
	return find_next_bit(map, nbits, 0);
}

static inline unsigned long find_first_zero_bit(const unsigned long *map, unsigned long nbits)
{
	return find_next_zero_bit(map, nbits, 0);
}

#define for_each_set_bit(bit, map, nbits)                               \
	for ((bit) = find_next_bit((map), (nbits), 0); (bit) < (nbits); \
	     (bit) = find_next_bit((map), (nbits), (bit) + 1))

void bitmap_zero(unsigned long *map, unsigned long nbits);
void bitmap_fill(unsigned long *map, unsigned long nbits);
void bitmap_set(unsigned long *map, unsigned long from, unsigned long len);
void bitmap_clear(unsigned long *map, unsigned long from, unsigned long len);
bool bitmap_empty(const unsigned long *map, unsigned long nbits);
bool bitmap_full(const unsigned long *map, unsigned long nbits);
unsigned long bitmap_weight(const unsigned long *map, unsigned long nbits);

#ifdef __cplusplus
}
#endif

#include <pagesim/nodemask.h>

#endif
