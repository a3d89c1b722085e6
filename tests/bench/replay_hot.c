/* SPDX-License-Identifier: MIT */
/*
 * replay-hot: what one access costs the host. Zipf(1.0) over 1 M pages, 50 M accesses from a .pgt file, a machine of two
 * tiers, policy numa-balancing. It is compared with `floor`: the decoded stream through a four-level walk that sets
 * accessed and dirty bits, touches the page's struct page and adds a latency, with nothing else. Floor and replay take
 * turns, every half million records, so that both meet the same host; the ratio is of medians.
 *
 *   floor    decoded batches -> walk of the simulated address space's own tables -> struct page -> latency
 *   decode   the reader alone
 *   replay   the same batches through ps_replay_batch(), TLBs, policy and time included; "all" adds the decoding
 *
 * The trace file is made on the first run and kept (argument 1).
 */
#include "zipf_file.h"

#include <pagesim/machine_file.h>
#include <pagesim/mm.h>
#include <pagesim/page.h>
#include <pagesim/replay.h>
#include <pagesim/trace_file.h>
#include <pagesim/world.h>

/* Batches in one turn: half a million records, some ten milliseconds. */
#define TURN      256
#define MAX_TURNS 1024

/* One turn's batches, copied out of the reader. */
struct turn {
	struct ps_trace_batch batch[TURN];
	u64 vpn[TURN][PS_TRACE_BATCH_MAX];
	u32 meta[TURN][PS_TRACE_BATCH_MAX];
	u32 n;
	u64 records;
};

static struct turn turn;

struct times {
	double decode, replay, floor;
};

/* Addresses of entries, as the hardware follows them. */
static u64 *next_table(u64 entry)
{
	return (u64 *)(uintptr_t)(entry & _PAGE_TABLE_MASK);
}

static u64 floor_sink;

static __attribute__((noinline)) void floor_turn(struct ps_machine *machine, struct page_tables *pt)
{
	u64 now = floor_sink;

	for (u32 b = 0; b < turn.n; b++) {
		const struct ps_trace_batch *batch = &turn.batch[b];

		for (u32 i = 0; i < batch->n; i++) {
			u64 vpn = batch->vpn[i], *entry;
			bool write = ps_meta_has_writes(batch->meta[i]);
			struct page *page;
			pfn_t pfn;

			entry = next_table(pt->pgd[(vpn >> 27) & 511]);
			entry = next_table(entry[(vpn >> 18) & 511]);
			entry = next_table(entry[(vpn >> 9) & 511]);
			entry += vpn & 511;
			*entry |= _PAGE_ACCESSED | (write ? _PAGE_DIRTY : 0);
			pfn = (*entry & _PAGE_PFN_MASK) >> PAGE_SHIFT;
			page = &machine->mem_map[pfn];
			/* The touch is a load; a store would make the floor slower still. */
			now += (*(const volatile u64 *)&page->flags >> 63) +
			       machine->read_ns[0][machine->section_nid[pfn >> machine->section_shift]];
		}
	}
	floor_sink = now;
}

static bool fill(struct ps_trace_reader *reader, struct ps_replay *replay, struct times *times)
{
	double start = bench_cpu();
	GError *error = NULL;

	turn.n = 0;
	turn.records = 0;
	while (turn.n < TURN) {
		struct ps_trace_batch batch;
		enum ps_trace_next next = ps_trace_reader_next(reader, &batch, &error);

		if (next == PS_TRACE_FAILED)
			bench_die("%s", error->message);
		if (next == PS_TRACE_END)
			break;
		if (batch.event) {
			if (batch.event->kind != PS_EVENT_EXIT && !ps_replay_batch(replay, &batch, &error))
				bench_die("%s", error->message);
			continue;
		}
		turn.batch[turn.n] = batch;
		turn.batch[turn.n].vpn = turn.vpn[turn.n];
		turn.batch[turn.n].meta = turn.meta[turn.n];
		memcpy(turn.vpn[turn.n], batch.vpn, batch.n * sizeof(u64));
		memcpy(turn.meta[turn.n], batch.meta, batch.n * sizeof(u32));
		turn.records += batch.n;
		turn.n++;
	}
	times->decode = bench_cpu() - start;
	return turn.n;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "zipf.pgt";
	struct ps_replay_settings settings = { .policy = argc > 2 ? argv[2] : "numa-balancing", .seed = 1 };
	const char *machine = argc > 3 ? argv[3] : "dram-cxl,0=3G,1=4G";
	static double floors[MAX_TURNS], replays[MAX_TURNS], decodes[MAX_TURNS], ratios[MAX_TURNS];
	double floor = 0, decode = 0, all = 0, ratio;
	struct ps_machine_spec *spec;
	struct ps_trace_reader *reader;
	struct ps_replay *replay;
	struct ps_report report;
	GError *error = NULL;
	struct times times;
	u64 records = 0;
	size_t n = 0;

	zipf_file(path);
	spec = ps_machine_spec_load(machine, NULL, &error);
	replay = spec ? ps_replay_new(spec, &settings, &error) : NULL;
	reader = replay ? ps_trace_reader_open(path, &error) : NULL;
	if (!reader)
		bench_die("%s", error->message);
	while (n < MAX_TURNS && fill(reader, replay, &times)) {
		double start = bench_cpu();

		for (u32 b = 0; b < turn.n; b++)
			if (!ps_replay_batch(replay, &turn.batch[b], &error))
				bench_die("%s", error->message);
		times.replay = bench_cpu() - start;
		start = bench_cpu();
		floor_turn(ps_replay_world(replay)->machine, &ps_replay_task(replay, 0)->mm->pt);
		times.floor = bench_cpu() - start;
		floor += times.floor;
		decode += times.decode;
		all += times.decode + times.replay;
		records += turn.records;
		floors[n] = times.floor * 1e9 / (double)turn.records;
		decodes[n] = times.decode * 1e9 / (double)turn.records;
		replays[n] = (times.decode + times.replay) * 1e9 / (double)turn.records;
		ratios[n] = replays[n] / floors[n];
		if (getenv("PAGESIM_BENCH_VERBOSE"))
			printf("turn %zu: floor %.2f decode %.2f all %.2f\n", n, floors[n], decodes[n], replays[n]);
		n++;
	}
	ratio = bench_median(ratios, n);
	printf("replay-hot %.2f ns per access (decoding %.2f of it), floor %.2f, ratio %.3f, target 1.25 (medians of "
	       "%zu turns)\n",
	       bench_median(replays, n), bench_median(decodes, n), bench_median(floors, n), ratio, n);
	printf("replay-hot-mean %.2f ns per access (decoding %.2f of it), floor %.2f, ratio %.3f (all %llu records, "
	       "first touches "
	       "and policy included)\n",
	       all * 1e9 / (double)records, decode * 1e9 / (double)records, floor * 1e9 / (double)records, all / floor,
	       (unsigned long long)records);
	ps_report_init(&report);
	ps_replay_report(replay, &report);
	if (getenv("PAGESIM_BENCH_VERBOSE")) {
		GString *text = g_string_new(NULL);

		ps_report_write(&report, PS_REPORT_TABLE, false, 0, text);
		puts(text->str);
		g_string_free(text, TRUE);
	}
	ps_report_destroy(&report);
	ps_replay_free(replay);
	ps_trace_reader_free(reader);
	ps_machine_spec_free(spec);
	return bench_verdict(ratio <= 1.25);
}
