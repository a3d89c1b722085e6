/* SPDX-License-Identifier: MIT */
/*
 * The swap area against the census: page table entries and shared memory refer to slots, and the map counts them. The swap
 * layer's own validator proves that map, clusters and cache agree; here is who uses them.
 */
#include "check/census.h"

#include <pagesim/alloc.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/shmem.h>
#include <pagesim/swap.h>

/* What the files have in swap. Return: how many pages. */
static long count_shmem(struct census *c, u8 *shmem)
{
	const struct ps_swap *swap = c->machine->swap;
	struct inode *inode;
	long all = 0;

	list_for_each_entry(inode, &c->machine->files->inodes, i_list) {
		unsigned long index;
		long entries = 0;
		void *entry;

		if (!shmem_mapping(inode->i_mapping))
			continue;
		xa_for_each(&inode->i_mapping->i_pages, index, entry) {
			u64 slot = swp_offset(radix_to_swp_entry(entry));

			if (!xa_is_value(entry))
				continue;
			entries++;
			if (!swap->map || !slot || slot >= swap->nr_slots)
				violation(c, 19, U64_MAX, "file %s[%lu] refers to slot %lu, which is none",
					  inode->name ? inode->name : "(shared memory)", index, (unsigned long)slot);
			else if (shmem[slot]++)
				violation(c, 19, U64_MAX, "slot %lu: two pages of shared memory refer to it",
					  (unsigned long)slot);
		}
		if (entries != atomic_long_read(&inode->swapped))
			violation(c, 19, U64_MAX, "file %s says that %ld pages are in swap, there are %ld",
				  inode->name ? inode->name : "(shared memory)", atomic_long_read(&inode->swapped),
				  entries);
		all += entries;
	}
	return all;
}

void check_swap(struct census *c)
{
	struct ps_swap *swap = c->machine->swap;
	char why[200] = "";
	long in_files = 0;
	u8 *shmem;
	u64 slot;

	if (!swap)
		return;
	shmem = ps_calloc(swap->map ? swap->nr_slots : 1, sizeof(*shmem));
	if (!shmem) {
		c->out_of_memory = true;
		return;
	}
	if (c->machine->files)
		in_files = count_shmem(c, shmem);
	for (slot = swap->map ? swap_next_used(swap, 0) : 0; slot; slot = swap_next_used(swap, slot)) {
		u32 users = c->swap_users ? c->swap_users[slot] : 0, word = swap->map[slot] & ~SWAP_HAS_CACHE;

		if (shmem[slot] ? users || word != SWAP_MAP_SHMEM : word != users)
			violation(c, 19, U64_MAX, "slot %lu: the map says %#x, %u entries and %u files refer to it",
				  (unsigned long)slot, swap->map[slot], users, shmem[slot]);
	}
	/* A slot that is free by the map was not visited. */
	for (slot = 1; swap->map && (c->swap_users || in_files) && slot < swap->nr_slots; slot++)
		if (!swap->map[slot] && ((c->swap_users && c->swap_users[slot]) || shmem[slot]))
			violation(c, 19, U64_MAX, "slot %lu: free, but referred to", (unsigned long)slot);
	ps_free(shmem);
	/* Who reads past the cache claims a slot for a moment. */
	if (!c->settings->busy && !ps_swap_validate(swap, why, sizeof(why)))
		violation(c, 19, U64_MAX, "swap: %s", why);
}
