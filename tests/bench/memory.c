/* SPDX-License-Identifier: MIT */
/*
 * memory: what a machine of one TiB costs the host: to build (median of several), and per resident page when 4 M pages
 * have been touched (resident host memory of the process, before and after, all layers included). Targets: 20 ms, 96
 * bytes.
 */
#include "scene.h"

#define PAGES  (4u << 20)
#define STARTS 9

int main(void)
{
	double took[STARTS], start, start_ms, per_page, fault_ns;
	size_t before, built;
	struct scene s;

	for (int i = 0; i < STARTS; i++) {
		struct ps_machine_spec *spec = ps_machine_spec_load("tib", NULL, NULL);
		struct ps_world *world;

		start = bench_now();
		if (!spec || ps_world_new(spec, NULL, &world))
			bench_die("cannot build the machine");
		took[i] = (bench_now() - start) * 1e3;
		ps_world_free(world);
		ps_machine_spec_free(spec);
	}
	start_ms = bench_median(took, STARTS);
	printf("memory-start %.3f ms, target 20\n", start_ms);
	before = bench_rss();
	s = scene_open("tib");
	built = bench_rss();
	s.world->machine->faults->thp_enabled = THP_NEVER;
	scene_map(PAGES);
	start = bench_cpu();
	scene_touch(PAGES, 1);
	fault_ns = (bench_cpu() - start) * 1e9 / PAGES;
	per_page = (double)(bench_rss() - before) / PAGES;
	printf("memory-machine %.1f MiB when built\n", (double)(built - before) / (1 << 20));
	printf("memory-page %.2f bytes per resident page, target 96\n", per_page);
	printf("memory-fault %.0f ns per first touch\n", fault_ns);
	scene_close(&s);
	return bench_verdict(start_ms < 20 && per_page <= 96);
}
