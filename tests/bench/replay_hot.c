/* SPDX-License-Identifier: MIT */
/*
 * replay-hot: what one access costs the host. Zipf(1.0) over 1 M pages, 50 M accesses from a .pgt file, a machine of two
 * tiers, policy numa-balancing. It is compared with `floor`: the decoded stream through a four-level walk that sets
 * accessed and dirty bits, touches the page's struct page and adds a latency, with nothing else. Floor and replay take
 * turns, batch by batch groups, so that both meet the same host; the ratio is of medians.
 *
 *   floor    decoded batches -> walk of the simulated address space's own tables -> struct page -> latency
 *   decode   the reader alone
 *   replay   the same batches through ps_replay_batch(), TLBs, policy and time included; "all" adds the decoding
 *
 * The trace file is made on the first run and kept (argument 1).
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <pagesim/machine_file.h>
#include <pagesim/mm.h>
#include <pagesim/page.h>
#include <pagesim/replay.h>
#include <pagesim/synthetic.h>
#include <pagesim/trace_file.h>
#include <pagesim/world.h>

/* Batches in one turn: 64 x 2048 records, a few milliseconds. */
#define TURN 1024

static void make_trace(const char *path, u64 pages, u64 accesses)
{
	struct ps_synthetic_settings settings = {.pages = pages, .accesses = accesses, .seed = 1, .write_per_mille = 300};
	struct ps_trace_info info = {.source = "synthetic", .command = "zipf", .created_by = "replay-hot", .note = "",
				     .clock = PS_CLOCK_ACCESSES};
	struct ps_trace_writer_settings w = {.level = 1};
	char *temporary = g_strconcat(path, ".new", NULL);
	struct ps_trace_writer *writer;
	GError *error = NULL;
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		bench_die("%s: cannot write", temporary);
	writer = ps_trace_writer_new(fd, temporary, &info, &w, &error);
	if (!writer || !ps_synthetic_write(&settings, writer, &error) || !ps_trace_writer_finish(writer, &error))
		bench_die("%s", error->message);
	ps_trace_writer_free(writer);
	close(fd);
	if (rename(temporary, path))
		bench_die("%s: cannot rename", path);
	g_free(temporary);
}

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
			/* The touch: a bit of the flags that nobody uses. */
			*(volatile u64 *)&page->flags |= 0;
			now += machine->read_ns[0][machine->section_nid[pfn >> machine->section_shift]];
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
	const char *path = argc > 1 ? argv[1] : "/tmp/pagesim-zipf.pgt";
	const char *policy = argc > 2 ? argv[2] : "none";
	u64 accesses = argc > 3 ? strtoull(argv[3], NULL, 10) : 50000000;
	struct ps_replay_settings settings = {.policy = policy, .seed = 1};
	struct ps_machine_spec *spec;
	struct ps_trace_reader *reader;
	struct ps_replay *replay;
	struct stat st;
	GError *error = NULL;
	double *floors, *replays, *decodes, total[3] = {0}, cold = 0;
	size_t n = 0, room = 4096;
	u64 done = 0;
	struct times times;

	if (stat(path, &st))
		make_trace(path, 1u << 20, accesses);
	spec = ps_machine_spec_load(argc > 4 ? argv[4] : "dram-cxl,0=3G,1=4G", NULL, &error);
	if (!spec)
		bench_die("%s", error->message);
	replay = ps_replay_new(spec, &settings, &error);
	reader = ps_trace_reader_open(path, &error);
	if (!replay || !reader)
		bench_die("%s", error->message);
	floors = calloc(room, sizeof(*floors));
	replays = calloc(room, sizeof(*replays));
	decodes = calloc(room, sizeof(*decodes));
	while (n < room && fill(reader, replay, &times)) {
		double start = bench_cpu();

		for (u32 b = 0; b < turn.n; b++)
			if (!ps_replay_batch(replay, &turn.batch[b], &error))
				bench_die("%s", error->message);
		times.replay = bench_cpu() - start;
		start = bench_cpu();
		floor_turn(ps_replay_world(replay)->machine, &ps_replay_task(replay, 0)->mm->pt);
		times.floor = bench_cpu() - start;
		floors[n] = times.floor * 1e9 / (double)turn.records;
		replays[n] = times.replay * 1e9 / (double)turn.records;
		decodes[n] = times.decode * 1e9 / (double)turn.records;
		n++;
		done += turn.records;
		total[0] += times.floor;
		total[1] += times.decode;
		total[2] += times.replay;
		if (n == 20)
			cold = total[2];
		if (getenv("V"))
			printf("%zu %.2f %.2f %.2f\n", n, floors[n - 1], decodes[n - 1], replays[n - 1]);
	}
	printf("mean   floor %.2f  decode %.2f  replay %.2f  ratio %.2f\n", total[0] * 1e9 / done, total[1] * 1e9 / done,
	       total[2] * 1e9 / done, (total[1] + total[2]) / total[0]);
	{
		double f = bench_median(floors, n), d = bench_median(decodes, n), p = bench_median(replays, n);

		printf("median floor %.2f  decode %.2f  replay %.2f  ratio %.2f (cold 20 turns %.3f s)\n", f, d, p, (d + p) / f,
		       cold);
	}
	struct ps_report report;
	GString *text = g_string_new(NULL);
	ps_report_init(&report);
	ps_replay_report(replay, &report);
	ps_report_write(&report, PS_REPORT_TABLE, false, 0, text);
	puts(text->str);
	ps_report_destroy(&report);
	ps_replay_free(replay);
	ps_trace_reader_free(reader);
	return 0;
}
