/* SPDX-License-Identifier: MIT */
/*
 * The seeded generator: same seed, same numbers, on every host. xoshiro256** with its state filled by splitmix64, so
 * that seeds 0, 1, 2 give unrelated streams. One generator per user (a policy, a workload, the shuffler), never shared:
 * then adding a user changes nobody else's numbers.
 *
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2018/2021); Steele, Lea, Flood 2014
 * (splitmix64); Lemire 2019 (multiply-and-reject).
 *
 * Layer: base
 */
#ifndef PAGESIM_RNG_H
#define PAGESIM_RNG_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_rng {
	u64 s[4];
};

/** One step of splitmix64: advances *state and returns a well mixed value of it. */
static inline u64 ps_splitmix64(u64 *state)
{
	u64 z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/** Starts a stream. Any seed is good, 0 too. */
static inline void ps_rng_init(struct ps_rng *rng, u64 seed)
{
	int i;

	for (i = 0; i < 4; i++)
		rng->s[i] = ps_splitmix64(&seed);
}

/** Return: 64 uniform bits. */
static inline u64 ps_rng_next(struct ps_rng *rng)
{
	u64 *s = rng->s;
	u64 x = s[1] * 5;
	u64 t = s[1] << 17;
	u64 result = ((x << 7) | (x >> 57)) * 9;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = (s[3] << 45) | (s[3] >> 19);
	return result;
}

/** Return: a uniform number in [0, bound), without bias; 0 for bound 0. */
static inline u64 ps_rng_below(struct ps_rng *rng, u64 bound)
{
	__extension__ typedef unsigned __int128 u128;
	u128 m = (u128)ps_rng_next(rng) * bound;

	if ((u64)m < bound) {
		u64 reject = (0 - bound) % bound;

		while ((u64)m < reject)
			m = (u128)ps_rng_next(rng) * bound;
	}
	return (u64)(m >> 64);
}

/** Return: true in n of 65536 cases. */
static inline bool ps_rng_chance(struct ps_rng *rng, u32 n)
{
	return (ps_rng_next(rng) >> 48) < n;
}

/** Return: a double in [0, 1) with 53 random bits. */
static inline double ps_rng_double(struct ps_rng *rng)
{
	return (double)(ps_rng_next(rng) >> 11) * (1.0 / 9007199254740992.0);
}

#ifdef __cplusplus
}
#endif

#endif
