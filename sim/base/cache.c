/* SPDX-License-Identifier: MIT */
/*
 * Object caches. Memory comes in slabs; a new slab is handed out object by object from its start (so neighbours in time
 * are neighbours in memory), freed objects go to a last-in-first-out list whose link lies behind the object, never in it:
 * what a lockless reader of a freed object finds is what its last user left.
 *
 *     slab   | next slab | object | link | object | link | ...
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc_count.h"

#include <pagesim/alloc.h>
#include <pagesim/sanitizer.h>

#ifdef PS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#endif

#define CACHE_ALIGN    16
#define SLAB_BYTES     4096
#define SLAB_BYTES_MAX (64 * 1024)

struct slab {
	struct slab *next;
	size_t bytes;
};

static_assert(sizeof(struct slab) % CACHE_ALIGN == 0, "objects start aligned behind the slab's head");

static void cache_lock(struct ps_cache *cache)
{
#ifdef PS_NATIVE
	while (__atomic_exchange_n(&cache->lock, 1, __ATOMIC_ACQUIRE)) /* pairs with cache_unlock() */
		sched_yield();
#endif
}

static void cache_unlock(struct ps_cache *cache)
{
#ifdef PS_NATIVE
	__atomic_store_n(&cache->lock, 0, __ATOMIC_RELEASE); /* pairs with cache_lock() */
#endif
}

void ps_cache_init(struct ps_cache *cache, const char *name, size_t size, bool typesafe)
{
	memset(cache, 0, sizeof(*cache));
	cache->name = name;
	cache->size = size;
	cache->stride = (size + sizeof(void *) + CACHE_ALIGN - 1) / CACHE_ALIGN * CACHE_ALIGN;
	cache->typesafe = typesafe;
}

u64 ps_cache_destroy(struct ps_cache *cache)
{
	u64 leaked = cache->live;
	struct slab *slab = (struct slab *)cache->slabs, *next;

	ps_alloc_count_gone(leaked, leaked * cache->size);
	for (; slab; slab = next) {
		next = slab->next;
		ASAN_UNPOISON_MEMORY_REGION(slab, slab->bytes);
		ps_host_free(slab);
	}
	ps_cache_init(cache, cache->name, cache->size, cache->typesafe);
	return leaked;
}

/* The link of the free list behind an object. */
static void **link_of(const struct ps_cache *cache, void *object)
{
	return (void **)((char *)object + cache->stride) - 1;
}

/* Slabs double up to SLAB_BYTES_MAX, and hold at least eight objects. */
static bool grow(struct ps_cache *cache)
{
	struct slab *newest = (struct slab *)cache->slabs;
	size_t bytes = newest ? ps_min(newest->bytes * 2, (size_t)SLAB_BYTES_MAX) : SLAB_BYTES;
	struct slab *slab;

	bytes = ps_max(bytes, sizeof(struct slab) + 8 * cache->stride);
	slab = ps_host_alloc((bytes + CACHE_ALIGN - 1) / CACHE_ALIGN * CACHE_ALIGN, CACHE_ALIGN, false);
	if (!slab)
		return false;
	slab->next = newest;
	slab->bytes = bytes;
	cache->slabs = slab;
	cache->fresh = (char *)(slab + 1);
	cache->fresh_end = (char *)slab + bytes;
	return true;
}

static void *take_object(struct ps_cache *cache)
{
	void *object = cache->free_objects;

	if (object) {
		ASAN_UNPOISON_MEMORY_REGION(object, cache->size);
		cache->free_objects = *link_of(cache, object);
	} else {
		if ((size_t)(cache->fresh_end - cache->fresh) < cache->stride && !grow(cache))
			return NULL;
		object = cache->fresh;
		cache->fresh += cache->stride;
	}
	__atomic_store_n(&cache->live, cache->live + 1, __ATOMIC_RELAXED);
	return object;
}

void *ps_cache_alloc(struct ps_cache *cache)
{
	void *object;

	if (ps_alloc_request_fails())
		return NULL;
	cache_lock(cache);
	object = take_object(cache);
	cache_unlock(cache);
	if (ps_alloc_count_new(object, cache->size) && unlikely(cache->hook))
		cache->hook->alloced(cache->hook->arg, cache->hook, object);
	return object;
}

void *ps_cache_zalloc(struct ps_cache *cache)
{
	void *object = ps_cache_alloc(cache);

	if (object)
		memset(object, 0, cache->size);
	return object;
}

void ps_cache_free(struct ps_cache *cache, void *object)
{
	if (!object)
		return;
	if (unlikely(cache->hook))
		cache->hook->freed(cache->hook->arg, cache->hook, object);
	ps_alloc_count_gone(1, cache->size);
	cache_lock(cache);
	*link_of(cache, object) = cache->free_objects;
	cache->free_objects = object;
	__atomic_store_n(&cache->live, cache->live - 1, __ATOMIC_RELAXED);
	if (!cache->typesafe)
		ASAN_POISON_MEMORY_REGION(object, cache->size);
	cache_unlock(cache);
}
