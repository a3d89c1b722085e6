/* SPDX-License-Identifier: MIT */
/*
 * Asking the shrinkers; see shrinker.h.
 *
 * The list is read under shrinker_rwsem, which is only tried: reclaim comes here with anything held, and who registers may be
 * allocating. While a shrinker works somebody may wait to register; then the rest is left for the next time.
 *
 * Source: the behaviour of Linux 6.1's mm/vmscan.c.
 */
#include <pagesim/shrinker.h>

#include <string.h>

#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

void register_shrinker(struct shrinker *shrinker, const char *name)
{
	struct ps_mem *mem = this_mem();

	memset(shrinker->nr_deferred, 0, sizeof(shrinker->nr_deferred));
	shrinker->name = name;
	down_write(&mem->shrinker_rwsem);
	list_add_tail(&shrinker->list, &mem->shrinkers);
	up_write(&mem->shrinker_rwsem);
}

void unregister_shrinker(struct shrinker *shrinker)
{
	struct ps_mem *mem = this_mem();

	if (!shrinker->name)
		return;
	down_write(&mem->shrinker_rwsem);
	list_del(&shrinker->list);
	up_write(&mem->shrinker_rwsem);
	shrinker->name = NULL;
}

/* One shrinker's share. Return: objects freed. */
static unsigned long do_shrink_slab(struct shrink_control *sc, struct shrinker *shrinker, int priority)
{
	const unsigned long batch = shrinker->batch ? shrinker->batch : SHRINK_BATCH;
	unsigned long freeable, delta, total, freed = 0;
	long deferred, scanned = 0, next;

	if (!(shrinker->flags & SHRINKER_NUMA_AWARE))
		sc->nid = 0;
	freeable = shrinker->count_objects(shrinker, sc);
	if (!freeable)
		return 0;
	/* Whoever scans now takes over what others put off; two at once share it by chance. */
	deferred = atomic_long_xchg(&shrinker->nr_deferred[sc->nid], 0);
	delta = shrinker->seeks ? (freeable >> priority) * 4 / (unsigned long)shrinker->seeks : freeable / 2;
	total = ps_min(((unsigned long)deferred >> priority) + delta, 2 * freeable);

	/* A small rest is worth a call only if it is all there is. */
	while (total >= batch || total >= freeable) {
		unsigned long ret;

		sc->nr_to_scan = sc->nr_scanned = ps_min(batch, total);
		ret = shrinker->scan_objects(shrinker, sc);
		if (ret == SHRINK_STOP)
			break;
		freed += ret;
		count_vm_events(SLABS_SCANNED, (long)sc->nr_scanned);
		total -= sc->nr_scanned;
		scanned += (long)sc->nr_scanned;
		cond_resched();
	}
	next = ps_max(deferred + (long)delta - scanned, 0L);
	atomic_long_add(ps_min(next, 2 * (long)freeable), &shrinker->nr_deferred[sc->nid]);
	return freed;
}

unsigned long shrink_slab(gfp_t gfp_mask, nid_t nid, int priority)
{
	struct ps_mem *mem = this_mem();
	unsigned long freed = 0;
	struct shrinker *shrinker;

	if (!down_read_trylock(&mem->shrinker_rwsem))
		return 0;
	list_for_each_entry(shrinker, &mem->shrinkers, list) {
		struct shrink_control sc = { .gfp_mask = gfp_mask, .nid = nid };

		freed += do_shrink_slab(&sc, shrinker, priority);
		if (rwsem_is_contended(&mem->shrinker_rwsem)) {
			freed = freed ? freed : 1;
			break;
		}
	}
	up_read(&mem->shrinker_rwsem);
	cond_resched();
	return freed;
}

void drop_slab(void)
{
	unsigned int nid, shift = 0;
	unsigned long freed;

	do {
		freed = 0;
		for (nid = 0; nid < this_machine()->nr_nodes; nid++)
			freed += shrink_slab(GFP_KERNEL, (nid_t)nid, 0);
	} while (freed >> shift++ > 1);
	count_vm_event(DROP_SLAB);
}
