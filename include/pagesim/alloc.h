/* SPDX-License-Identifier: MIT */
/*
 * All host memory of the library comes from here, so that three things can be known of it: how much is out (leak checks
 * at rest), how much there is in all (honest figures in the report), and what happens when the n-th request fails
 * (every caller is tested that way). The allocator behind is jemalloc, or the C library's where a sanitizer brings
 * its own.
 *
 * Names in this file:
 *   ps_alloc, ps_zalloc, ps_alloc_aligned, ps_realloc, ps_free   one block
 *   ps_arena       blocks that belong together and die together: the frames of one simulated node
 *   ps_cache       many objects of one size, recycled last in first out; their memory is reused for the same kind only,
 *                  until the cache is destroyed
 *   ps_reserve     a huge array of zeroes that costs only what is touched
 *   ps_alloc_fail_nth, ps_alloc_counts   the tests' grip on all of the above
 *
 * The counters are of the process. Fail-the-nth is exact as long as one thread allocates.
 *
 * Layer: base
 */
#ifndef PAGESIM_ALLOC_H
#define PAGESIM_ALLOC_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * One block of uninitialised, zeroed or aligned memory; the size is in bytes, 0 is allowed and gives a unique block.
 *
 * Context: any. align is a power of two.
 * Return: the block, owned by the caller until ps_free(), or NULL.
 */
void *ps_alloc(size_t bytes);
void *ps_zalloc(size_t bytes);
void *ps_alloc_aligned(size_t align, size_t bytes);
/** Zeroed array. Return: NULL also when n * size overflows. */
void *ps_calloc(size_t n, size_t size);
/** Grows or shrinks. Return: the block, moved or not; NULL leaves the old one as it was. */
void *ps_realloc(void *block, size_t bytes);
/** Return: a copy of a string, or NULL. */
char *ps_strdup(const char *text);
/** Gives a block back; NULL is allowed. */
void ps_free(void *block);

/** What is out and what was asked. Figures count requests made through this header, reserves excluded. */
struct ps_alloc_counts {
	u64 requests;       /* allocations asked for so far, failed ones included: the n of fail-the-nth */
	u64 live;           /* blocks and cache objects out now */
	u64 live_bytes;     /* their usable bytes */
	u64 failed;         /* requests answered NULL, injected or not */
	u64 reserved_bytes; /* address space of ps_reserve() out now; says nothing of memory used */
};

void ps_alloc_counts(struct ps_alloc_counts *ret_counts);

/**
 * Makes the n-th request from now return NULL (1 = the very next), once; 0 switches it off.
 *
 * Return: whether the previous order was still waiting, i.e. the code under test made fewer requests: the end of the
 * usual loop `for (n = 1; ; n++) { ps_alloc_fail_nth(n); run(); if (ps_alloc_fail_nth(0)) break; }`.
 */
bool ps_alloc_fail_nth(u64 n);

/* ------------------------------------------------------------------ arenas */

/** A set of blocks with their own pages, freed together. */
struct ps_arena;

/** Return: a new arena, or NULL. Freed by ps_arena_free(). */
struct ps_arena *ps_arena_new(void);
/** Frees the arena and every block in it; NULL is allowed. */
void ps_arena_free(struct ps_arena *arena);
/** Return: an uninitialised block of the arena, or NULL. align is a power of two. */
void *ps_arena_alloc(struct ps_arena *arena, size_t align, size_t bytes);
/** Gives one block back to its arena; NULL is allowed. */
void ps_arena_release(struct ps_arena *arena, void *block);
/** Return: usable bytes of the arena's blocks now. */
u64 ps_arena_bytes(const struct ps_arena *arena);

/* ------------------------------------------------------------------ object caches */

/** Watches the objects of a cache: the grip of a use-after-free oracle. Called after alloc, before free. */
struct ps_cache_hook {
	void (*alloced)(void *arg, struct ps_cache_hook *hook, void *object);
	void (*freed)(void *arg, struct ps_cache_hook *hook, void *object);
	void *arg;
};

/** Fields are the implementation's; the caller provides the storage. */
struct ps_cache {
	const char *name;
	size_t size;                /* bytes of an object as asked */
	size_t stride;              /* object + link of the free list behind it, rounded up to 16 */
	bool typesafe;              /* readers may look at freed objects */
	int lock;                   /* native driver: test-and-set, guards what follows */
	void *free_objects;         /* singly linked, newest first */
	char *fresh, *fresh_end;    /* what of the newest slab was never handed out */
	void *slabs;                /* all memory of the cache, linked */
	u64 live;                   /* objects out */
	struct ps_cache_hook *hook; /* set by who observes, while no other thread uses the cache; NULL: nobody */
};

/**
 * Sets up a cache of objects of size bytes, aligned to 16. name must outlive the cache. Allocates nothing yet.
 *
 * typesafe: lockless readers may still look at an object after its release (SLAB_TYPESAFE_BY_RCU). Otherwise
 * AddressSanitizer builds make a freed object unreadable.
 */
void ps_cache_init(struct ps_cache *cache, const char *name, size_t size, bool typesafe);
/** Frees all memory of the cache. Return: objects that were still out (0 = no leak); their memory is gone too. */
u64 ps_cache_destroy(struct ps_cache *cache);
/** Return: an object, uninitialised or as its last user left it, or NULL. */
void *ps_cache_alloc(struct ps_cache *cache);
/** Return: an object of zeroes, or NULL. */
void *ps_cache_zalloc(struct ps_cache *cache);
/** Gives an object back; NULL is allowed. */
void ps_cache_free(struct ps_cache *cache, void *object);

/** Return: objects out now. */
static inline u64 ps_cache_live(const struct ps_cache *cache)
{
	return __atomic_load_n(&cache->live, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ reserves */

/**
 * Reserves address space that reads as zeroes; host memory is taken page by page when it is written.
 *
 * Return: page-aligned memory, given back by ps_unreserve() with the same size, or NULL.
 */
void *ps_reserve(size_t bytes);
void ps_unreserve(void *base, size_t bytes);
/** Drops the content of whole host pages inside [base, base + bytes): they read as zeroes again and cost nothing. */
void ps_reserve_forget(void *base, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
