/* SPDX-License-Identifier: MIT */
/*
 * The player. A table says for each verb which function plays it and whether its return value is part of the transcript, as in
 * pagesim's own interpreter (sim/replay/script.c); a verb without one is something no real kernel does.
 *
 * Names live here and nowhere else: tasks by name, regions by name and address space (a forked child has its parent's),
 * files by path. The k-th region name of a script has the same address in every task.
 *
 * After every statement the disk is waited for, the per-CPU LRU batches are drained, and the watched counters compared with
 * what they were.
 */
#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "counters.h"
#include "frames.h"
#include "say.h"
#include "settings.h"
#include "small_files.h"
#include "work.h"

#define SWAP_DEVICE "/dev/zram0"
/* The first region, and from one to the next: far apart, each at a page number that 512 and 3 divide. */
#define SLOT_BASE 0x100000000000ULL
#define SLOT_SIZE 0x180000000ULL
/* Node numbers a mask has room for. */
#define MASK_NODES (NODE_WORDS * 64)

/* Linux's numbers (linux/mempolicy.h), which the words of the language stand for. */
enum {
	MPOL_DEFAULT,
	MPOL_PREFERRED,
	MPOL_BIND,
	MPOL_INTERLEAVE,
};
enum {
	MPOL_MF_STRICT = 1,
	MPOL_MF_MOVE = 2,
	MPOL_MF_MOVE_ALL = 4,
};

struct region {
	const char *name; /* lives as long as the script */
	u64 addr, pages;
	u64 at; /* file offset of its first page, in pages */
};

/* The regions of one address space, shared by its threads. */
struct space {
	GArray *regions; /* of struct region */
	int pid, pidfd, pagemap;
};

struct task {
	const char *name;
	struct space *space;
	unsigned int desk;
	bool thread;
};

static struct {
	const struct ps_script *script;
	const struct play_settings *settings;
	GPtrArray *tasks;      /* of struct task, the living ones */
	GPtrArray *slots;      /* region names in order of first use */
	unsigned int desks;    /* handed out so far */
	GPtrArray *disk_files; /* paths below /d/ that the script names, each once */
	u64 oom_kills;         /* before the script */
	bool no_autodrain;
	bool failed; /* the script ends here */
	const struct ps_statement *st;
	struct task *task; /* whose statement it is, NULL for the kernel's */
} run;

static void __attribute__((format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list args;
	char *message;

	if (run.failed)
		return;
	run.failed = true;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	say("%s:%u: %s\n", run.script->name, run.st->line, message);
	g_free(message);
}

/* ---- names ---- */

static struct task *find_task(const char *name)
{
	for (guint i = 0; i < run.tasks->len; i++) {
		struct task *task = g_ptr_array_index(run.tasks, i);

		if (!strcmp(task->name, name))
			return task;
	}
	return NULL;
}

static bool check_free_name(const char *name)
{
	if (find_task(name)) {
		fail("task %s exists", name);
		return false;
	}
	if (run.desks == MAX_DESKS) {
		fail("too many tasks: a script may start %d", MAX_DESKS);
		return false;
	}
	return true;
}

static struct region *find_region(const struct space *space, const char *name)
{
	for (guint i = 0; i < space->regions->len; i++) {
		struct region *region = &g_array_index(space->regions, struct region, i);

		if (!strcmp(region->name, name))
			return region;
	}
	return NULL;
}

static u64 slot_address(const char *name)
{
	guint i;

	for (i = 0; i < run.slots->len; i++)
		if (!strcmp(g_ptr_array_index(run.slots, i), name))
			break;
	if (i == run.slots->len)
		g_ptr_array_add(run.slots, (char *)(uintptr_t)name);
	return SLOT_BASE + i * SLOT_SIZE;
}

static struct region *set_region(const char *name, u64 pages, u64 at)
{
	struct space *space = run.task->space;
	struct region *region = find_region(space, name);

	if (!region) {
		g_array_set_size(space->regions, space->regions->len + 1);
		region = &g_array_index(space->regions, struct region, space->regions->len - 1);
		region->name = name;
	}
	region->addr = slot_address(name);
	region->pages = pages;
	region->at = at;
	return region;
}

/* The regions are a copy of @of's, if there is one. Return: NULL: the process ended at once. */
static struct space *space_new(int pid, const struct space *of)
{
	struct space *space = g_new0(struct space, 1);

	space->pid = pid;
	space->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	space->pagemap = frames_open_pagemap(pid);
	space->regions = g_array_new(FALSE, TRUE, sizeof(struct region));
	if (of)
		g_array_append_vals(space->regions, of->regions->data, of->regions->len);
	return space;
}

static void space_free(struct space *space)
{
	if (space->pidfd >= 0)
		close(space->pidfd);
	if (space->pagemap >= 0)
		close(space->pagemap);
	g_array_free(space->regions, TRUE);
	g_free(space);
}

static void add_task(const char *name, struct space *space, unsigned int desk, bool thread)
{
	struct task *task = g_new0(struct task, 1);

	task->name = name;
	task->space = space;
	task->desk = desk;
	task->thread = thread;
	g_ptr_array_add(run.tasks, task);
}

/* ---- asking a task ---- */

static u64 oom_kills(void)
{
	static char text[32768];
	char *at;

	small_file_read("/proc/vmstat", text, sizeof(text));
	at = strstr(text, "\noom_kill ");
	return at ? strtoull(at + strlen("\noom_kill "), NULL, 10) : 0;
}

static struct work *new_work(enum work_kind kind)
{
	struct work *w = &office->desk[run.task->desk].work;

	memset(w, 0, sizeof(*w));
	w->kind = kind;
	w->step = 1;
	return w;
}

static const struct answer *ask(void)
{
	static const struct answer none = { .ret = -ESRCH };

	if (!work_ask(run.task->desk, run.task->space->pidfd))
		return &office->desk[run.task->desk].answer;
	fail(oom_kills() > run.oom_kills ? "task %s was killed: out of memory" : "task %s was killed", run.task->name);
	return &none;
}

/* ---- ranges ---- */

static bool put_span(struct work *w, const struct ps_range *range, struct region **ret)
{
	struct region *region = find_region(run.task->space, range->name);

	if (range->is_file) {
		fail("expected a region, found the file %s", range->name);
		return false;
	}
	if (!region) {
		fail("task %s has no region %s", run.task->name, range->name);
		return false;
	}
	if (!range->whole && range->end > region->pages) {
		fail("bad range '%s[%" PRIu64 ":%" PRIu64 "]': %s has pages 0 to %" PRIu64, range->name, range->first,
		     range->end, range->name, region->pages);
		return false;
	}
	w->first = range->whole ? 0 : range->first;
	w->step = range->whole ? 1 : range->step;
	w->pages = ps_range_pages(range, region->pages);
	w->addr = region->addr + w->first * PAGE_SIZE;
	*ret = region;
	return true;
}

static bool put_path(struct work *w, const char *path)
{
	if (g_strlcpy(w->path, path, sizeof(w->path)) < sizeof(w->path))
		return true;
	fail("expected a path of at most %d letters", MAX_PATH - 1);
	return false;
}

/* A range of a file: without brackets all of it, as long as it is now. */
static bool put_file(struct work *w, const struct ps_range *range)
{
	struct stat st;
	u64 pages = stat(range->name, &st) ? 0 : ((u64)st.st_size + PAGE_SIZE - 1) / PAGE_SIZE;

	if (!range->is_file) {
		fail("expected a file, found the region %s", range->name);
		return false;
	}
	w->first = range->whole ? 0 : range->first;
	w->step = range->whole ? 1 : range->step;
	w->pages = ps_range_pages(range, pages);
	return put_path(w, range->name);
}

static void put_nodes(unsigned long *mask, const struct ps_node_list *list)
{
	for (u32 i = 0; i < list->n; i++) {
		if (list->node[i] < 0 || list->node[i] >= MASK_NODES)
			fail("expected nodes below %d, found %d", MASK_NODES, list->node[i]);
		else
			mask[list->node[i] / 64] |= 1UL << list->node[i] % 64;
	}
}

/* ---- verbs; each returns what the system call returned ---- */

static long v_mmap(void)
{
	const struct ps_statement *st = run.st;
	struct work *w = new_work(WORK_MMAP);
	struct region *region = find_region(run.task->space, st->name), before = { 0 };
	long ret;

	if (region)
		before = *region;
	region = set_region(st->name, st->bytes / PAGE_SIZE, st->number);
	w->addr = region->addr;
	w->pages = region->pages;
	w->number = st->number;
	w->prot = (st->prot & PS_PROT_READ ? PROT_READ : 0) | (st->prot & PS_PROT_WRITE ? PROT_WRITE : 0);
	w->flags =
		(st->map & PS_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE) | (st->map & PS_MAP_POPULATE ? MAP_POPULATE : 0);
	if (st->path && !put_path(w, st->path))
		return 0;
	ret = ask()->ret;
	if (ret < 0) {
		if (before.name)
			*region = before;
		else
			g_array_set_size(run.task->space->regions, run.task->space->regions->len - 1);
	}
	return ret;
}

static long v_reserve(void)
{
	set_region(run.st->name, run.st->bytes / PAGE_SIZE, 0);
	return 0;
}

static long v_range(void)
{
	static const struct {
		enum ps_verb verb;
		enum work_kind kind;
	} kinds[] = {
		{ PS_VERB_MUNMAP, WORK_MUNMAP }, { PS_VERB_MPROTECT, WORK_MPROTECT }, { PS_VERB_MADVISE, WORK_MADVISE },
		{ PS_VERB_MLOCK, WORK_MLOCK },   { PS_VERB_MUNLOCK, WORK_MUNLOCK },   { PS_VERB_GET, WORK_GET },
		{ PS_VERB_PUT, WORK_PUT },       { PS_VERB_PIN, WORK_PIN },           { PS_VERB_UNPIN, WORK_UNPIN },
	};
	struct region *region;
	struct work *w;
	size_t i = 0;

	while (i < ARRAY_SIZE(kinds) - 1 && kinds[i].verb != run.st->verb)
		i++;
	w = new_work(kinds[i].kind);
	if (!put_span(w, &run.st->range, &region))
		return 0;
	w->prot = (run.st->prot & PS_PROT_READ ? PROT_READ : 0) | (run.st->prot & PS_PROT_WRITE ? PROT_WRITE : 0);
	/* The words' values are Linux's. */
	w->number = (u64)run.st->advice;
	return ask()->ret;
}

static long v_mremap(void)
{
	struct work *w = new_work(WORK_MREMAP), to = { 0 };
	struct region *source, *target;
	long ret;

	if (!put_span(w, &run.st->range, &source) || !put_span(&to, &run.st->other, &target))
		return 0;
	w->to = to.addr;
	ret = ask()->ret;
	/* File pages keep their numbers in the new region. */
	if (!ret && (source->at || target->at))
		target->at = source->at + w->first - to.first;
	return ret;
}

static int policy_mode(void)
{
	switch (run.st->policy.mode) {
	case PS_POLICY_BIND:
		return MPOL_BIND;
	case PS_POLICY_PREFERRED:
		return MPOL_PREFERRED;
	case PS_POLICY_INTERLEAVE:
		return MPOL_INTERLEAVE;
	case PS_POLICY_WEIGHTED:
		fail("policy weighted cannot be asked of a real kernel");
		break;
	case PS_POLICY_DEFAULT:
		break;
	}
	return MPOL_DEFAULT;
}

static long v_policy(void)
{
	const struct ps_statement *st = run.st;
	bool bind = st->verb == PS_VERB_MBIND;
	struct work *w = new_work(bind ? WORK_MBIND : WORK_MEMPOLICY);
	struct region *region;

	if (bind && !put_span(w, &st->range, &region))
		return 0;
	w->number = (u64)policy_mode();
	put_nodes(w->nodes, &st->policy.nodes);
	w->flags = (st->bind & PS_BIND_STRICT ? MPOL_MF_STRICT : 0) | (st->bind & PS_BIND_MOVE ? MPOL_MF_MOVE : 0) |
		   (st->bind & PS_BIND_MOVE_ALL ? MPOL_MF_MOVE_ALL : 0);
	return run.failed ? 0 : ask()->ret;
}

static long v_touch(void)
{
	enum ps_verb verb = run.st->verb;
	struct work *w = new_work(verb == PS_VERB_LOAD ? WORK_LOAD : verb == PS_VERB_STORE ? WORK_STORE : WORK_CHECK);
	const struct answer *answer;
	struct region *region;
	u64 first, page;

	if (!put_span(w, &run.st->range, &region))
		return 0;
	first = w->first;
	/* What is written in a page of a file is of the file. */
	w->first += region->at;
	w->value = run.st->value;
	answer = ask();
	if (answer->faulted) {
		page = first + answer->fault_index * w->step;
		say("  = -EFAULT\n  fault: ");
		say_run("", page, page, 1);
		say(" %s\n", answer->fault_signal == SIGBUS ? "SIGBUS" : "SIGSEGV");
	} else if (verb == PS_VERB_CHECK && !run.failed) {
		say_result(answer->ret);
	}
	return 0;
}

static long v_file(void)
{
	static const struct {
		enum ps_verb verb;
		enum work_kind kind;
	} kinds[] = {
		{ PS_VERB_PREAD, WORK_PREAD },       { PS_VERB_PWRITE, WORK_PWRITE },   { PS_VERB_FSYNC, WORK_FSYNC },
		{ PS_VERB_TRUNCATE, WORK_TRUNCATE }, { PS_VERB_FADVISE, WORK_FADVISE },
	};
	struct work *w;
	size_t i = 0;

	while (i < ARRAY_SIZE(kinds) - 1 && kinds[i].verb != run.st->verb)
		i++;
	w = new_work(kinds[i].kind);
	if (!put_file(w, &run.st->range))
		return 0;
	w->number = run.st->number;
	w->value = run.st->value;
	return ask()->ret;
}

static long v_move_pages(void)
{
	const struct ps_statement *st = run.st;
	bool query = st->verb == PS_VERB_STATUS;
	struct work *spans = g_new0(struct work, st->n_items), *w;
	struct region *region;
	u64 n = 0, base = 0;
	long ret = 0;

	for (u32 i = 0; i < st->n_items && !run.failed; i++) {
		struct work *span = &spans[i];

		if (!put_span(span, &st->items[i].range, &region))
			break;
		if (n + span->pages > MAX_PAGES) {
			fail("expected at most %u pages in one call", MAX_PAGES);
			break;
		}
		for (u64 k = 0; k < span->pages; k++, n++) {
			office->page[n] = (void *)(uintptr_t)(span->addr + k * span->step * PAGE_SIZE);
			office->node[n] = st->items[i].node;
			office->status[n] = STATUS_UNSET;
		}
	}
	if (run.failed)
		goto out_free;
	w = new_work(WORK_MOVE_PAGES);
	w->pages = n;
	w->number = !query;
	w->flags = st->all ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE;
	ret = ask()->ret;
	if (run.failed)
		goto out_free;
	say_result(ret);
	say("  status:");
	for (u32 i = 0; i < st->n_items; i++) {
		say_status(st->n_items > 1 ? st->items[i].range.name : "", office->status + base, spans[i].first,
			   spans[i].pages, spans[i].step);
		base += spans[i].pages;
	}
	say("\n");
out_free:
	g_free(spans);
	return ret;
}

static long v_migrate_pages(void)
{
	struct work *w = new_work(WORK_MIGRATE_PAGES);

	put_nodes(w->nodes, &run.st->nodes);
	put_nodes(w->to_nodes, &run.st->to_nodes);
	return run.failed ? 0 : ask()->ret;
}

static long v_split(void)
{
	struct region *region;
	struct work span = { 0 };
	char text[128];

	if (!put_span(&span, &run.st->range, &region))
		return 0;
	if (run.st->number) {
		fail("splitting to order %" PRIu64 " cannot be asked of a real kernel: order 0 only", run.st->number);
		return 0;
	}
	snprintf(text, sizeof(text), "%d,0x%" PRIx64 ",0x%" PRIx64, run.task->space->pid, span.addr,
		 span.addr + span.pages * PAGE_SIZE);
	return small_file_write("/sys/kernel/debug/split_huge_pages", text);
}

static long v_clear_refs(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", run.task->space->pid);
	return small_file_write(path, "4");
}

static long v_cpu(void)
{
	new_work(WORK_CPU)->number = run.st->number;
	return ask()->ret;
}

static long v_unprivileged(void)
{
	new_work(WORK_UNPRIVILEGED);
	return ask()->ret;
}

static long v_fork(void)
{
	bool thread = run.st->verb == PS_VERB_THREAD;
	struct task *parent = run.task;
	unsigned int desk = run.desks;
	long ret;

	if (!check_free_name(run.st->name))
		return 0;
	run.desks++;
	new_work(thread ? WORK_THREAD : WORK_FORK)->desk = desk;
	ret = ask()->ret;
	if (ret >= 0 && !run.failed)
		add_task(run.st->name, thread ? parent->space : space_new((int)ret, parent->space), desk, thread);
	return ret;
}

/* ---- looking ---- */

static long v_show(void)
{
	struct work span = { 0 };
	struct region *region;
	int error;

	if (!put_span(&span, &run.st->range, &region))
		return 0;
	error = frames_show(run.task->space->pagemap, span.addr, span.first, span.pages, span.step);
	if (error)
		fail("the page table of task %s cannot be read: %s", run.task->name, g_strerror(-error));
	return 0;
}

static const char *const smaps_fields[] = {
	"Rss",      "Pss",           "Shared_Clean",   "Shared_Dirty", "Private_Clean", "Private_Dirty", "Anonymous",
	"LazyFree", "AnonHugePages", "ShmemPmdMapped", "Swap",         "SwapPss",       "Locked",
};

/* The sum over all VMAs that touch the range. */
static long v_smaps(void)
{
	u64 total[ARRAY_SIZE(smaps_fields)] = { 0 }, end;
	struct work span = { 0 };
	struct region *region;
	bool inside = false;
	unsigned int vmas = 0;
	char path[64], *text, *rest, *line;
	size_t size;

	if (!put_span(&span, &run.st->range, &region))
		return 0;
	end = span.addr + span.pages * PAGE_SIZE;
	snprintf(path, sizeof(path), "/proc/%d/smaps", run.task->space->pid);
	text = small_file_load(path, &size);
	if (!text) {
		fail("the mappings of task %s cannot be read: %s", run.task->name, g_strerror(errno));
		return 0;
	}
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		u64 from, to, kib;
		char name[64];

		/* "7f00-7f10 rw-p ..." begins a VMA, "Rss:   4 kB" is a line of it. */
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s", &from, &to) == 2) {
			inside = from < end && to > span.addr;
			vmas += inside;
		} else if (inside && sscanf(line, "%63[^:]: %" SCNu64 " kB", name, &kib) == 2) {
			for (size_t i = 0; i < ARRAY_SIZE(smaps_fields); i++)
				if (!strcmp(smaps_fields[i], name))
					total[i] += kib;
		}
	}
	small_file_unload(text, size);
	say("  smaps: vmas=%u", vmas);
	for (size_t i = 0; i < ARRAY_SIZE(smaps_fields); i++)
		if (total[i])
			say(" %s=%" PRIu64 "K", smaps_fields[i], total[i]);
	say("\n");
	return 0;
}

/* ---- the kernel's verbs ---- */

static void add_disk_file(const char *path)
{
	if (!path || strncmp(path, "/d/", 3))
		return;
	for (guint i = 0; i < run.disk_files->len; i++)
		if (!strcmp(g_ptr_array_index(run.disk_files, i), path))
			return;
	g_ptr_array_add(run.disk_files, (char *)(uintptr_t)path);
}

/* Waits for what is being written to the disk, and has nothing more written: how fast a disk is, no transcript may show. */
static void wait_for_disk(void)
{
	for (guint i = 0; i < run.disk_files->len; i++) {
		int fd = open(g_ptr_array_index(run.disk_files, i), O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE);
		close(fd);
	}
}

/* From a node to itself nothing moves, but before it looks the kernel empties the batches of all CPUs. */
static void drain(void)
{
	unsigned long node0 = 1;

	syscall(SYS_migrate_pages, getpid(), 64, &node0, &node0);
}

static long k_drain(void)
{
	drain();
	return 0;
}

static long k_compact(void)
{
	char path[80] = "/proc/sys/vm/compact_memory";

	if (run.st->node != PS_NODE_ALL)
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/compact", run.st->node);
	return small_file_write(path, "1");
}

static long k_drop_caches(void)
{
	char text[8];

	snprintf(text, sizeof(text), "%" PRIu64, run.st->number);
	return small_file_write("/proc/sys/vm/drop_caches", text);
}

static long k_swap(void)
{
	return (run.st->on ? swapon(SWAP_DEVICE, 0) : swapoff(SWAP_DEVICE)) ? -errno : 0;
}

static long k_set(void)
{
	const char *path = setting_path(run.st->name);

	if (!strcmp(run.st->name, "autodrain")) {
		run.no_autodrain = !strcmp(run.st->word, "0");
		return 0;
	}
	if (!path) {
		fail("setting '%s' cannot be made on a real kernel", run.st->name);
		return 0;
	}
	return small_file_write(path, run.st->word);
}

/* Only the nodes the script knows, and of the distances only those between them. */
static long k_nodes(void)
{
	for (unsigned int n = 0; n < run.settings->nr_nodes; n++) {
		char path[80], cpus[256], distance[1024], *rest = distance, *word;
		const char *comma = "";
		unsigned int to = 0;

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", n);
		small_file_read(path, cpus, sizeof(cpus));
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/distance", n);
		small_file_read(path, distance, sizeof(distance));
		say("  node%u: %" PRIu64 "M cpus=%s distance=", n, frames_node_bytes((int)n) >> 20,
		    *g_strstrip(cpus) ? cpus : "-");
		while (to++ < run.settings->nr_nodes && (word = strsep(&rest, " \n"))) {
			say("%s%s", comma, word);
			comma = ",";
		}
		say("\n");
	}
	return 0;
}

static long k_vmstat(void)
{
	counters_since_last_time();
	return 0;
}

static long k_counters(void)
{
	counters_names();
	return 0;
}

/* ---- the table ---- */

enum verb_print {
	PRINT_RET,   /* the return value, always */
	PRINT_ERROR, /* only if it failed */
	PRINT_OWN,   /* the verb prints what it prints */
	PRINT_LOOK,  /* the same, and the batches are drained before */
};

static const struct {
	long (*play)(void);
	enum verb_print print;
} verbs[PS_VERBS] = {
	[PS_VERB_FORK] = { v_fork, PRINT_ERROR },
	[PS_VERB_THREAD] = { v_fork, PRINT_ERROR },
	[PS_VERB_CPU] = { v_cpu, PRINT_ERROR },
	[PS_VERB_UNPRIVILEGED] = { v_unprivileged, PRINT_ERROR },
	[PS_VERB_MMAP] = { v_mmap, PRINT_RET },
	[PS_VERB_RESERVE] = { v_reserve, PRINT_ERROR },
	[PS_VERB_MUNMAP] = { v_range, PRINT_RET },
	[PS_VERB_MPROTECT] = { v_range, PRINT_RET },
	[PS_VERB_MREMAP] = { v_mremap, PRINT_RET },
	[PS_VERB_MADVISE] = { v_range, PRINT_RET },
	[PS_VERB_MLOCK] = { v_range, PRINT_RET },
	[PS_VERB_MUNLOCK] = { v_range, PRINT_RET },
	[PS_VERB_MEMPOLICY] = { v_policy, PRINT_RET },
	[PS_VERB_MBIND] = { v_policy, PRINT_RET },
	[PS_VERB_LOAD] = { v_touch, PRINT_OWN },
	[PS_VERB_STORE] = { v_touch, PRINT_OWN },
	[PS_VERB_CHECK] = { v_touch, PRINT_OWN },
	[PS_VERB_PREAD] = { v_file, PRINT_RET },
	[PS_VERB_PWRITE] = { v_file, PRINT_RET },
	[PS_VERB_FSYNC] = { v_file, PRINT_RET },
	[PS_VERB_TRUNCATE] = { v_file, PRINT_RET },
	[PS_VERB_FADVISE] = { v_file, PRINT_RET },
	[PS_VERB_GET] = { v_range, PRINT_RET },
	[PS_VERB_PUT] = { v_range, PRINT_RET },
	[PS_VERB_PIN] = { v_range, PRINT_RET },
	[PS_VERB_UNPIN] = { v_range, PRINT_RET },
	[PS_VERB_MOVE_PAGES] = { v_move_pages, PRINT_OWN },
	[PS_VERB_STATUS] = { v_move_pages, PRINT_OWN },
	[PS_VERB_MIGRATE_PAGES] = { v_migrate_pages, PRINT_RET },
	[PS_VERB_SPLIT] = { v_split, PRINT_RET },
	[PS_VERB_CLEAR_REFS] = { v_clear_refs, PRINT_ERROR },
	[PS_VERB_SHOW] = { v_show, PRINT_LOOK },
	[PS_VERB_SMAPS] = { v_smaps, PRINT_LOOK },
	[PS_VERB_KERNEL_DRAIN] = { k_drain, PRINT_ERROR },
	[PS_VERB_KERNEL_COMPACT] = { k_compact, PRINT_ERROR },
	[PS_VERB_KERNEL_DROP_CACHES] = { k_drop_caches, PRINT_ERROR },
	[PS_VERB_KERNEL_SWAP] = { k_swap, PRINT_ERROR },
	[PS_VERB_KERNEL_SET] = { k_set, PRINT_ERROR },
	[PS_VERB_KERNEL_NODES] = { k_nodes, PRINT_OWN },
	[PS_VERB_KERNEL_VMSTAT] = { k_vmstat, PRINT_OWN },
	[PS_VERB_KERNEL_COUNTERS] = { k_counters, PRINT_OWN },
};

/* start and exit make and unmake the very task that would do the work. */
static void play_start(void)
{
	unsigned int desk = run.desks;
	cpu_set_t set;
	pid_t pid;

	if (!check_free_name(run.st->subject))
		return;
	if (run.st->number >= run.settings->nr_cpus) {
		fail("no CPU %" PRIu64 ": the machine has CPUs 0 to %u", run.st->number, run.settings->nr_cpus - 1);
		return;
	}
	run.desks++;
	pid = fork();
	if (pid < 0) {
		fail("task %s cannot be started: %s", run.st->subject, g_strerror(errno));
	} else if (!pid) {
		CPU_ZERO(&set);
		CPU_SET(run.st->number, &set);
		sched_setaffinity(0, sizeof(set), &set);
		/* Where memory runs out it is a task that pays, not the player. */
		small_file_write("/proc/self/oom_score_adj", "0");
		/* What it has so far stays on our own node, each mapping by its own policy; what comes is the script's. */
		syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0);
		close_range(STDERR_FILENO + 1, ~0U, 0);
		work_at(desk);
	} else {
		add_task(run.st->subject, space_new(pid, NULL), desk, false);
	}
}

static void forget_task(struct task *task)
{
	g_ptr_array_remove(run.tasks, task);
	g_free(task);
}

/* When a process ends, so do its threads. */
static void end_task(struct task *task)
{
	struct space *space = task->space;

	work_end(task->desk, space->pidfd, task->thread);
	if (task->thread) {
		forget_task(task);
		return;
	}
	for (guint i = run.tasks->len; i-- > 0;) {
		struct task *other = g_ptr_array_index(run.tasks, i);

		if (other->space == space)
			forget_task(other);
	}
	space_free(space);
}

static void play_verb(void)
{
	const struct ps_statement *st = run.st;
	enum verb_print print = verbs[st->verb].print;
	long ret;

	if (!verbs[st->verb].play) {
		fail("a real kernel has no '%s'", ps_verb_word(st->verb));
		return;
	}
	if (print == PRINT_LOOK && !run.no_autodrain)
		drain();
	ret = verbs[st->verb].play();
	if (run.failed)
		return;
	if (print == PRINT_RET || (print == PRINT_ERROR && ret < 0))
		say_result(ret);
}

static void play_statement(void)
{
	const struct ps_statement *st = run.st;
	enum ps_subject subject = ps_verb_subject(st->verb);

	run.task = NULL;
	if (st->racer || subject == PS_SUBJECT_SCRIPT) {
		/* Which machine it is, whoever started it said. */
		if (st->verb != PS_VERB_MACHINE)
			fail("a real kernel has no '%s'", st->racer ? "race" : ps_verb_word(st->verb));
		return;
	}
	if (subject == PS_SUBJECT_KERNEL) {
		play_verb();
		return;
	}
	if (st->verb == PS_VERB_START) {
		play_start();
		return;
	}
	run.task = find_task(st->subject);
	if (!run.task)
		fail("no task %s: expected the name of a started task or 'kernel'", st->subject);
	else if (st->verb == PS_VERB_EXIT)
		end_task(run.task);
	else
		play_verb();
}

void play(const struct ps_script *script, const struct play_settings *settings)
{
	u32 i;

	run.script = script;
	run.settings = settings;
	run.tasks = g_ptr_array_new();
	run.slots = g_ptr_array_new();
	run.disk_files = g_ptr_array_new();
	for (i = 0; i < script->n; i++) {
		add_disk_file(script->statements[i].path);
		add_disk_file(script->statements[i].range.name);
	}
	run.oom_kills = oom_kills();
	drain();
	counters_begin();
	for (i = 0; i < script->n && !run.failed; i++) {
		run.st = &script->statements[i];
		say("> %s\n", run.st->text);
		play_statement();
		if (run.failed)
			break;
		wait_for_disk();
		if (!run.no_autodrain)
			drain();
		counters_after_statement(run.st->verb != PS_VERB_KERNEL_VMSTAT);
	}
	if (!run.failed && script->error)
		say("> %s\n%s\n", script->error_text, script->error->message);
	while (run.tasks->len)
		end_task(g_ptr_array_index(run.tasks, run.tasks->len - 1));
}
