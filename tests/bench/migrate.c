/* SPDX-License-Identifier: MIT */
/*
 * migrate-4k, migrate-thp: simulated base pages moved per host second through ps_move_pages(), contents `none`, to the other
 * node and back, until a second has gone by several times. Every page is checked to have arrived. Target: 2 M/s for 4 KiB
 * pages. migrate-4k-batch is the same in generation 6.3-batch.
 */
#include "scene.h"

#define PAGES  (1u << 18) /* 1 GiB */
#define ROUNDS 9
#define TARGET 2e6

int main(int argc, char **argv)
{
	bool huge = argc > 1 && !strcmp(argv[1], "thp");
	const char *generation = argc > 2 ? argv[2] : NULL;
	struct scene s = scene_open("two-node,0=4G,1=4G");
	u64 step = huge ? 512 : 1, n = PAGES / step;
	struct ps_move *moves = calloc(n, sizeof(*moves));
	double rate[ROUNDS], median;

	if (!moves)
		bench_die("out of memory");
	s.world->machine->engines->recipe = ps_generation_find(generation);
	if (!s.world->machine->engines->recipe)
		bench_die("no generation %s", generation);
	s.world->machine->faults->thp_enabled = huge ? THP_ALWAYS : THP_NEVER;
	scene_map(PAGES);
	scene_touch(PAGES, 1);
	for (int round = 0; round < ROUNDS; round++) {
		int to = (round + 1) % 2;
		double start;
		long left;

		for (u64 i = 0; i < n; i++)
			moves[i] = (struct ps_move){ .addr = SCENE_ADDR + ((i * step) << PAGE_SHIFT), .node = to };
		start = bench_cpu();
		left = ps_move_pages(s.task->mm, moves, n, false, false);
		rate[round] = PAGES / (bench_cpu() - start);
		for (u64 i = 0; i < n; i++)
			if (left || moves[i].status != to)
				bench_die("page %llu is not on node %d (%ld left)", (unsigned long long)i, to, left);
	}
	if (s.world->stats->event[PGMIGRATE_SUCCESS] != (u64)ROUNDS * PAGES ||
	    (huge && s.world->stats->event[THP_MIGRATION_SUCCESS] != ROUNDS * n))
		bench_die("not every page was migrated as what it is");
	median = bench_median(rate, ROUNDS);
	printf("migrate-%s%s %.2f M base pages/s (slowest round %.2f, fastest %.2f)%s\n", huge ? "thp" : "4k",
	       generation ? "-batch" : "", median / 1e6, rate[0] / 1e6, rate[ROUNDS - 1] / 1e6,
	       huge ? "" : ", target 2.00");
	free(moves);
	scene_close(&s);
	return bench_verdict(huge || median >= TARGET);
}
