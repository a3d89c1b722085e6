/* SPDX-License-Identifier: MIT */
/*
 * Reading page tables and struct pages of a running kernel. Frames are read in windows of 64, which one `show` keeps and
 * the next forgets: nothing is believed for longer than a statement.
 */
#include "frames.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "say.h"
#include "small_files.h"

/* ---- the layout of struct page ---- */

/* Where a field may be: in struct page of the head, in struct page of the first tail, or in struct folio. */
enum place {
	IN_PAGE,
	IN_FIRST_TAIL,
	IN_FOLIO,
};

struct candidate {
	enum place place;
	const char *member;
};

static int find_field(const struct btf *btf, u32 page_bytes, const struct candidate *candidates, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *in = candidates[i].place == IN_FOLIO ? "folio" : "page";
		struct btf_member member;

		if (!btf_find_member(btf, in, candidates[i].member, &member))
			return (int)(member.offset + (candidates[i].place == IN_FIRST_TAIL ? page_bytes : 0));
	}
	return -1;
}

const char *page_layout_of(const struct btf *btf, struct page_layout *ret)
{
	static const struct candidate flags[] = { { IN_PAGE, "flags" } };
	static const struct candidate mapping[] = { { IN_PAGE, "mapping" } };
	static const struct candidate refcount[] = { { IN_PAGE, "_refcount" } };
	static const struct candidate compound_head[] = { { IN_PAGE, "compound_head" } };
	static const struct candidate order[] = { { IN_FIRST_TAIL, "compound_order" },
						  { IN_FOLIO, "_folio_order" },
						  { IN_FOLIO, "_flags_1" } };
	static const struct candidate pmd_mapcount[] = { { IN_FIRST_TAIL, "compound_mapcount" },
							 { IN_FOLIO, "_entire_mapcount" } };
	static const struct candidate pincount[] = { { IN_FIRST_TAIL, "compound_pincount" },
						     { IN_FOLIO, "_pincount" } };
	int size = btf_struct_size(btf, "page");
	s32 bit;

	if (size <= 0)
		return "struct page";
	ret->bytes = (u32)size;
	ret->flags = find_field(btf, ret->bytes, flags, ARRAY_SIZE(flags));
	ret->mapping = find_field(btf, ret->bytes, mapping, ARRAY_SIZE(mapping));
	ret->refcount = find_field(btf, ret->bytes, refcount, ARRAY_SIZE(refcount));
	ret->compound_head = find_field(btf, ret->bytes, compound_head, ARRAY_SIZE(compound_head));
	ret->order = find_field(btf, ret->bytes, order, ARRAY_SIZE(order));
	ret->pmd_mapcount = find_field(btf, ret->bytes, pmd_mapcount, ARRAY_SIZE(pmd_mapcount));
	ret->pincount = find_field(btf, ret->bytes, pincount, ARRAY_SIZE(pincount));
	ret->exclusive_bit = btf_find_enumerator(btf, "PG_anon_exclusive", &bit) ? -1 : bit;
	if (ret->flags < 0)
		return "page.flags";
	if (ret->refcount < 0)
		return "page._refcount";
	if (ret->compound_head < 0)
		return "page.compound_head";
	if (ret->order < 0)
		return "the order of a compound page";
	return NULL;
}

/* ---- the kernel's memory ---- */

#define MAX_SEGMENTS 256
#define MAX_ZONES    256
/* Where the array of struct pages begins with four and with five levels of page tables; the guest boots with nokaslr. */
#define VMEMMAP_4_LEVELS 0xffffea0000000000ULL
#define VMEMMAP_5_LEVELS 0xffd4000000000000ULL

static struct {
	int kcore, kpageflags, kpagecount;
	struct {
		u64 addr, bytes, offset;
	} segment[MAX_SEGMENTS];
	unsigned int nr_segments;
	struct {
		u64 first, end;
		int nid;
	} zone[MAX_ZONES];
	unsigned int nr_zones;
	u64 vmemmap;
	struct page_layout layout;
} host;

/* Reads kernel memory. Return: false when there is none. */
static bool read_kernel(u64 addr, void *to, size_t n)
{
	for (unsigned int i = 0; i < host.nr_segments; i++)
		if (addr >= host.segment[i].addr && addr + n <= host.segment[i].addr + host.segment[i].bytes)
			return pread(host.kcore, to, n,
				     (off_t)(host.segment[i].offset + addr - host.segment[i].addr)) == (ssize_t)n;
	return false;
}

static int read_segments(void)
{
	Elf64_Ehdr header;
	Elf64_Phdr program;

	if (pread(host.kcore, &header, sizeof(header), 0) != sizeof(header))
		return -EIO;
	for (unsigned int i = 0; i < header.e_phnum && host.nr_segments < MAX_SEGMENTS; i++) {
		off_t at = (off_t)(header.e_phoff + i * sizeof(program));

		if (pread(host.kcore, &program, sizeof(program), at) != sizeof(program))
			return -EIO;
		if (program.p_type != PT_LOAD)
			continue;
		host.segment[host.nr_segments].addr = program.p_vaddr;
		host.segment[host.nr_segments].bytes = program.p_memsz;
		host.segment[host.nr_segments].offset = program.p_offset;
		host.nr_segments++;
	}
	return 0;
}

/* "Node 0, zone  DMA32" begins a zone, "spanned N" and "start_pfn: N" are lines of it. */
static int read_zones(void)
{
	size_t size;
	char *text = small_file_load("/proc/zoneinfo", &size), *rest = text, *line;
	u64 spanned = 0, first;
	int nid = -1;

	if (!text)
		return -errno;
	while ((line = strsep(&rest, "\n"))) {
		sscanf(line, "Node %d,", &nid);
		sscanf(line, " spanned %" SCNu64, &spanned);
		if (sscanf(line, " start_pfn: %" SCNu64, &first) != 1 || !spanned || host.nr_zones == MAX_ZONES)
			continue;
		host.zone[host.nr_zones].first = first;
		host.zone[host.nr_zones].end = first + spanned;
		host.zone[host.nr_zones].nid = nid;
		host.nr_zones++;
		spanned = 0;
	}
	small_file_unload(text, size);
	return host.nr_zones ? 0 : -ENOENT;
}

static int node_of(u64 pfn)
{
	for (unsigned int i = 0; i < host.nr_zones; i++)
		if (pfn >= host.zone[i].first && pfn < host.zone[i].end)
			return host.zone[i].nid;
	return -1;
}

u64 frames_node_bytes(int nid)
{
	u64 pages = 0;

	for (unsigned int i = 0; i < host.nr_zones; i++)
		if (host.zone[i].nid == nid)
			pages += host.zone[i].end - host.zone[i].first;
	/* The very first frame of a machine is in no zone. */
	return (pages + 255) / 256 << 20;
}

static int read_layout(char *why, size_t size)
{
	static const char path[] = "/sys/kernel/btf/vmlinux";
	const char *missing = NULL;
	size_t bytes;
	char *file = small_file_load(path, &bytes);
	struct btf btf;
	int error;

	if (!file) {
		error = -errno;
		snprintf(why, size, "%s cannot be read (%s): the kernel must be built with CONFIG_DEBUG_INFO_BTF", path,
			 strerror(-error));
		return error;
	}
	error = btf_init(&btf, file, bytes);
	if (!error)
		missing = page_layout_of(&btf, &host.layout);
	if (error || missing)
		snprintf(why, size, "%s %s%s", path, error ? "is not BTF" : "does not know ", error ? "" : missing);
	btf_destroy(&btf);
	small_file_unload(file, bytes);
	return error ? error : missing ? -ENOENT : 0;
}

/* ---- windows of frames ---- */

#define WINDOW_FRAMES   64
#define WINDOWS         32
#define MAX_PAGE_STRUCT 128

static struct window {
	u64 block; /* first frame / WINDOW_FRAMES, or NO_BLOCK */
	u64 flags[WINDOW_FRAMES];
	u64 maps[WINDOW_FRAMES];
	u8 page[WINDOW_FRAMES * MAX_PAGE_STRUCT];
} windows[WINDOWS];

#define NO_BLOCK U64_MAX

static void forget_windows(void)
{
	for (unsigned int i = 0; i < WINDOWS; i++)
		windows[i].block = NO_BLOCK;
}

static const struct window *window_of(u64 pfn)
{
	u64 block = pfn / WINDOW_FRAMES;
	struct window *w = &windows[block % WINDOWS];
	off_t at = (off_t)(block * WINDOW_FRAMES * sizeof(u64));
	size_t bytes = (size_t)WINDOW_FRAMES * host.layout.bytes;

	if (w->block == block)
		return w;
	w->block = block;
	/* Frames behind the last one read as nothing. */
	memset(w->flags, 0, sizeof(w->flags));
	memset(w->maps, 0, sizeof(w->maps));
	if (pread(host.kpageflags, w->flags, sizeof(w->flags), at) < 0 ||
	    pread(host.kpagecount, w->maps, sizeof(w->maps), at) < 0 ||
	    !read_kernel(host.vmemmap + block * bytes, w->page, bytes))
		memset(w->page, 0, sizeof(w->page));
	return w;
}

static u64 kpageflags(u64 pfn)
{
	return window_of(pfn)->flags[pfn % WINDOW_FRAMES];
}

static u64 kpagecount(u64 pfn)
{
	return window_of(pfn)->maps[pfn % WINDOW_FRAMES];
}

/* @bytes at @offset of struct page, which may reach into the ones behind it. */
static u64 page_word(u64 pfn, int offset, size_t bytes)
{
	u64 word = 0;

	pfn += (u64)offset / host.layout.bytes;
	memcpy(&word, window_of(pfn)->page + pfn % WINDOW_FRAMES * host.layout.bytes + (u64)offset % host.layout.bytes,
	       bytes);
	return word;
}

static int page_int(u64 pfn, int offset)
{
	return (int)(u32)page_word(pfn, offset, sizeof(int));
}

/* ---- one page in words ---- */

/* Bits of /proc/kpageflags (Documentation/admin-guide/mm/pagemap.rst; from 32 on the kernel-internal ones). */
enum kpf {
	KPF_UPTODATE = 3,
	KPF_DIRTY = 4,
	KPF_LRU = 5,
	KPF_WRITEBACK = 8,
	KPF_MMAP = 11,
	KPF_ANON = 12,
	KPF_SWAPCACHE = 13,
	KPF_SWAPBACKED = 14,
	KPF_COMPOUND_HEAD = 15,
	KPF_COMPOUND_TAIL = 16,
	KPF_HUGE = 17,
	KPF_UNEVICTABLE = 18,
	KPF_HWPOISON = 19,
	KPF_KSM = 21,
	KPF_THP = 22,
	KPF_OFFLINE = 23,
	KPF_ZERO_PAGE = 24,
	KPF_RESERVED = 32,
	KPF_MLOCKED = 33,
	KPF_PRIVATE = 35,
};

/* The ones the transcript prints, in its order. Referenced, active, reclaim and locked vary and are left out. */
static const struct {
	enum kpf bit;
	const char *name;
} printed[] = {
	{ KPF_UPTODATE, "uptodate" },
	{ KPF_DIRTY, "dirty" },
	{ KPF_WRITEBACK, "writeback" },
	{ KPF_LRU, "lru" },
	{ KPF_ANON, "anon" },
	{ KPF_SWAPCACHE, "swapcache" },
	{ KPF_SWAPBACKED, "swapbacked" },
	{ KPF_MMAP, "mmap" },
	{ KPF_UNEVICTABLE, "unevictable" },
	{ KPF_MLOCKED, "mlocked" },
	{ KPF_KSM, "ksm" },
	{ KPF_HUGE, "huge" },
	{ KPF_HWPOISON, "hwpoison" },
	{ KPF_RESERVED, "reserved" },
	{ KPF_PRIVATE, "private" },
	{ KPF_OFFLINE, "offline" },
};

/* Bits of /proc/PID/pagemap. */
#define PM_PFN        ((1ULL << 55) - 1)
#define PM_SOFT_DIRTY (1ULL << 55)
#define PM_SWAP       (1ULL << 62)
#define PM_PRESENT    (1ULL << 63)
/* Of an entry that is not present: the type of its swap entry. There is one swap area, so its type is 0. */
#define PM_SWAP_TYPE 31

/* A small page's reference count grows by so much with each long-term pin. */
#define PIN_BIAS 1024

static bool flag(u64 flags, enum kpf bit)
{
	return flags >> bit & 1;
}

struct words {
	char text[512];
	size_t length;
};

static void __attribute__((format(printf, 2, 3))) add(struct words *w, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(w->text + w->length, sizeof(w->text) - w->length, format, args);
	va_end(args);
	if (n > 0)
		w->length = ps_min(w->length + (size_t)n, sizeof(w->text) - 1);
}

static bool is_exclusive(u64 pfn, u64 head, bool pmd_mapped)
{
	const struct page_layout *l = &host.layout;

	if (l->exclusive_bit < 0 || !flag(kpageflags(pfn), KPF_ANON))
		return false;
	if (page_word(pfn, l->flags, 8) >> l->exclusive_bit & 1)
		return true;
	/* Mapped by a PMD the head speaks for all. */
	return pmd_mapped && page_word(head, l->flags, 8) >> l->exclusive_bit & 1;
}

/* The two low bits of page.mapping: anonymous, and one more that makes it KSM's. */
#define MAPPING_KSM 3

static bool is_printed(u64 flags, enum kpf bit, u64 head)
{
	if (bit == KPF_KSM && host.layout.mapping >= 0 &&
	    (page_word(head, host.layout.mapping, 8) & MAPPING_KSM) != MAPPING_KSM)
		return false;
	return flag(flags, bit);
}

static void describe_page(struct words *w, u64 pfn, bool soft_dirty)
{
	const struct page_layout *l = &host.layout;
	u64 flags = kpageflags(pfn), head = pfn, link;
	bool tail = flag(flags, KPF_COMPOUND_TAIL), compound = tail || flag(flags, KPF_COMPOUND_HEAD);
	int refs, pins, pmd_maps = 0;
	const char *comma = "";

	link = page_word(pfn, l->compound_head, 8);
	if (tail && link & 1)
		head = (link - 1 - host.vmemmap) / l->bytes;
	refs = page_int(head, l->refcount);
	pins = refs / PIN_BIAS;
	if (compound) {
		pins = l->pincount < 0 ? 0 : page_int(head, l->pincount);
		pmd_maps = l->pmd_mapcount < 0 ? 0 : page_int(head, l->pmd_mapcount) + 1;
	}
	add(w, "node=%d ref=%d map=%" PRIu64, node_of(pfn), refs, kpagecount(pfn));
	if (compound)
		add(w, " %s order=%u compound_map=%d", tail ? "tail" : "head",
		    (unsigned int)page_word(head, l->order, 1), pmd_maps);
	if (pins)
		add(w, " pinned=%d", pins);
	add(w, " pte=present%s%s flags=", is_exclusive(pfn, head, pmd_maps > 0) ? ",exclusive" : "",
	    soft_dirty ? ",soft-dirty" : "");
	for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
		if (!is_printed(flags, printed[i].bit, head))
			continue;
		add(w, "%s%s", comma, printed[i].name);
		comma = ",";
	}
	if (!*comma)
		add(w, "-");
}

static void describe(struct words *w, u64 entry)
{
	u64 flags;

	w->length = 0;
	if (entry & PM_PRESENT) {
		flags = kpageflags(entry & PM_PFN);
		if (flag(flags, KPF_ZERO_PAGE))
			add(w, flag(flags, KPF_THP) ? "huge-zero" : "zero");
		else
			describe_page(w, entry & PM_PFN, entry & PM_SOFT_DIRTY);
	} else if (entry & PM_SWAP) {
		add(w, entry & PM_SWAP_TYPE ? "migration" : "swap");
	} else {
		add(w, "none");
	}
}

/* ---- */

/* A page of our own, found in the array of struct pages: is the array where we think, and laid out so? */
static int check_own_page(char *why, size_t size)
{
	static volatile char own[2 * PAGE_SIZE];
	volatile char *byte = own + PAGE_SIZE - (uintptr_t)own % PAGE_SIZE;
	int pagemap = frames_open_pagemap(getpid());
	u64 entry = 0, pfn;

	*byte = 1;
	if (pagemap >= 0 && pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)byte / PAGE_SIZE * 8)) < 0)
		entry = 0;
	close(pagemap);
	forget_windows();
	pfn = entry & PM_PFN;
	if (!(entry & PM_PRESENT) || !pfn || page_int(pfn, host.layout.refcount) < 1 ||
	    page_int(pfn, host.layout.refcount) > 64 || node_of(pfn) < 0) {
		snprintf(why, size, "struct page of frame %" PRIu64 " at %" PRIx64 " does not look like one", pfn,
			 host.vmemmap + pfn * host.layout.bytes);
		return -EIO;
	}
	return 0;
}

static int open_for_reading(const char *path, int *ret_fd, char *why, size_t size)
{
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	snprintf(why, size, "%s cannot be opened: %s", path, strerror(errno));
	return -errno;
}

int frames_init(char *why, size_t size)
{
	static const u64 bases[] = { VMEMMAP_4_LEVELS, VMEMMAP_5_LEVELS };
	int error = open_for_reading("/proc/kcore", &host.kcore, why, size);

	if (!error)
		error = open_for_reading("/proc/kpageflags", &host.kpageflags, why, size);
	if (!error)
		error = open_for_reading("/proc/kpagecount", &host.kpagecount, why, size);
	if (!error)
		error = read_layout(why, size);
	if (error)
		return error;
	if (host.layout.bytes > MAX_PAGE_STRUCT || read_segments() || read_zones()) {
		snprintf(why, size, "/proc/kcore or /proc/zoneinfo does not say where memory is");
		return -EIO;
	}
	for (size_t i = 0; i < ARRAY_SIZE(bases) && !host.vmemmap; i++) {
		u64 word;

		if (read_kernel(bases[i] + host.zone[0].first * host.layout.bytes, &word, sizeof(word)))
			host.vmemmap = bases[i];
	}
	if (!host.vmemmap) {
		snprintf(why, size, "/proc/kcore does not show the array of struct pages");
		return -EIO;
	}
	return check_own_page(why, size);
}

int frames_open_pagemap(int pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int frames_show(int pagemap, u64 addr, u64 first, u64 n, u64 step)
{
	static struct words now, before;
	static u64 entries[512];
	u64 start = 0, from = 0, have = 0;

	forget_windows();
	for (u64 i = 0; i <= n; i++) {
		u64 index = i * step; /* of the page, from addr on */

		if (i < n && index >= from + have) {
			ssize_t got = pread(pagemap, entries, sizeof(entries),
					    (off_t)((addr / PAGE_SIZE + index) * sizeof(u64)));

			if (got < (ssize_t)sizeof(u64))
				return got < 0 ? -errno : -EIO;
			from = index;
			have = (u64)got / sizeof(u64);
		}
		if (i < n)
			describe(&now, entries[index - from]);
		if (i && (i == n || strcmp(now.text, before.text))) {
			say("  ");
			say_run("", first + start * step, first + (i - 1) * step, step);
			say(" %s\n", before.text);
			start = i;
		}
		before = now;
	}
	return 0;
}
