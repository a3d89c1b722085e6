/* SPDX-License-Identifier: MIT */
/* Searches and runs over bitmaps, a word at a time. Bits behind nbits in the last word may hold anything. */
#include <string.h>

#include <pagesim/bitmap.h>

/* The word with index w, inverted if asked, as seen from bit `from`: lower bits cleared. */
static unsigned long word_from(const unsigned long *map, unsigned long w, unsigned long from, unsigned long invert)
{
	unsigned long word = map[w] ^ invert;

	return w == BIT_WORD(from) ? word & (~0UL << (from % BITS_PER_LONG)) : word;
}

static unsigned long find_from(const unsigned long *map, unsigned long nbits, unsigned long from, unsigned long invert)
{
	unsigned long w;

	for (w = BIT_WORD(from); from < nbits && w < BITS_TO_LONGS(nbits); w++) {
		unsigned long word = word_from(map, w, from, invert);

		if (word)
			return ps_min(w * BITS_PER_LONG + __ffs(word), nbits);
	}
	return nbits;
}

unsigned long find_next_bit(const unsigned long *map, unsigned long nbits, unsigned long from)
{
	return find_from(map, nbits, from, 0);
}

unsigned long find_next_zero_bit(const unsigned long *map, unsigned long nbits, unsigned long from)
{
	return find_from(map, nbits, from, ~0UL);
}

/* The bits of the last word that count. */
static unsigned long last_mask(unsigned long nbits)
{
	return nbits % BITS_PER_LONG ? BIT_MASK(nbits) - 1 : ~0UL;
}

unsigned long find_last_bit(const unsigned long *map, unsigned long nbits)
{
	unsigned long w;

	for (w = BITS_TO_LONGS(nbits); w-- > 0;) {
		unsigned long word = map[w] & (w == BITS_TO_LONGS(nbits) - 1 ? last_mask(nbits) : ~0UL);

		if (word)
			return w * BITS_PER_LONG + __fls(word);
	}
	return nbits;
}

void bitmap_zero(unsigned long *map, unsigned long nbits)
{
	memset(map, 0, BITS_TO_LONGS(nbits) * sizeof(*map));
}

void bitmap_fill(unsigned long *map, unsigned long nbits)
{
	memset(map, 0xff, BITS_TO_LONGS(nbits) * sizeof(*map));
}

/* The part of word w that lies in [from, end). */
static unsigned long run_mask(unsigned long w, unsigned long from, unsigned long end)
{
	unsigned long mask = ~0UL;

	if (w == BIT_WORD(from))
		mask &= ~0UL << (from % BITS_PER_LONG);
	if (w == BIT_WORD(end - 1))
		mask &= last_mask(end);
	return mask;
}

void bitmap_set(unsigned long *map, unsigned long from, unsigned long len)
{
	unsigned long w;

	for (w = BIT_WORD(from); len && w <= BIT_WORD(from + len - 1); w++)
		map[w] |= run_mask(w, from, from + len);
}

void bitmap_clear(unsigned long *map, unsigned long from, unsigned long len)
{
	unsigned long w;

	for (w = BIT_WORD(from); len && w <= BIT_WORD(from + len - 1); w++)
		map[w] &= ~run_mask(w, from, from + len);
}

bool bitmap_empty(const unsigned long *map, unsigned long nbits)
{
	return find_next_bit(map, nbits, 0) == nbits;
}

bool bitmap_full(const unsigned long *map, unsigned long nbits)
{
	return find_next_zero_bit(map, nbits, 0) == nbits;
}

unsigned long bitmap_weight(const unsigned long *map, unsigned long nbits)
{
	unsigned long w, n = 0;

	for (w = 0; w < BITS_TO_LONGS(nbits); w++)
		n += hweight_long(map[w] & (w == BITS_TO_LONGS(nbits) - 1 ? last_mask(nbits) : ~0UL));
	return n;
}
