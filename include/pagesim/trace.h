/* SPDX-License-Identifier: MIT */
/*
 * What a program did, in the smallest vocabulary a migration simulator needs. A trace is a sequence of two kinds of
 * thing: *accesses*, folded per page (how often was this page read and written before the program went elsewhere), and
 * *events*, which change what is mapped or who is running (mmap, fork, exit, read...). Accesses come in batches that
 * belong to one task; an event always stands alone between two batches, so the order of both is the order of the program.
 * Nothing here knows of machines or frames: virtual pages in, virtual pages out.
 *
 * Names in this file:
 *   struct ps_event            one thing that is not an access
 *   struct ps_trace_batch      a run of folded accesses of one task, or one event
 *   meta word                  how often and how a page was touched, 32 bits (ps_meta_...)
 *   task                       index of a simulated thread, counted from 0 in the order of appearance
 *   time                       the trace's own clock, see enum ps_trace_clock
 *
 * The meta word of a folded access:
 *
 *    31     30      29 ........ 15   14 ......... 0
 *   fetch  first    writes           reads (fetches when bit 31 is set)
 *          =write
 *
 * Reads and writes each go to 32767; a longer run is continued in a second record of the same page. "first" says that the
 * earliest access of the run was a write: enough to decide which fault a page takes when nobody has touched it yet.
 * An instruction that modifies memory is one read and one write, read first.
 *
 * Layer: trace
 */
#ifndef PAGESIM_TRACE_H
#define PAGESIM_TRACE_H

#include <glib.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Pages of a trace are always 4 KiB, whatever the page geometry of the machine it is replayed on. */
#define PS_TRACE_PAGE_SHIFT 12
#define PS_TRACE_PAGE_SIZE  4096ULL
/** Virtual page numbers are below this: 64-bit addresses in pages of 4 KiB. */
#define PS_TRACE_VPN_END (1ULL << 52)

/* ---- errors ---- */

#define PS_TRACE_ERROR (ps_trace_error_quark())
GQuark ps_trace_error_quark(void);

enum ps_trace_error {
	PS_TRACE_ERROR_IO,        /* the operating system said no; the message has its words */
	PS_TRACE_ERROR_UNKNOWN,   /* not a trace of any kind this build reads */
	PS_TRACE_ERROR_DAMAGED,   /* checksum or structure wrong; the message names the byte offset */
	PS_TRACE_ERROR_TRUNCATED, /* ends early; the message names the byte offset */
	PS_TRACE_ERROR_VERSION,   /* written by a newer pagesim */
	PS_TRACE_ERROR_SYNTAX,    /* text: FILE:LINE: what was expected, what was found */
	PS_TRACE_ERROR_MEMORY,    /* out of memory */
	PS_TRACE_ERROR_ARGUMENT,  /* the caller asked for something that cannot be */
};

/* ---- accesses ---- */

enum ps_access_kind {
	PS_ACCESS_READ,
	PS_ACCESS_WRITE,
	PS_ACCESS_MODIFY, /* one instruction that reads and writes */
	PS_ACCESS_FETCH,  /* an instruction */
};

#define PS_META_COUNT_MAX    0x7fffu
#define PS_META_WRITES_SHIFT 15
#define PS_META_WRITES_MASK  (PS_META_COUNT_MAX << PS_META_WRITES_SHIFT)
#define PS_META_FIRST_WRITE  (1u << 30)
#define PS_META_FETCH        (1u << 31)

/** Reads of a record; instruction fetches when ps_meta_is_fetch(). */
static inline u32 ps_meta_reads(u32 meta)
{
	return meta & PS_META_COUNT_MAX;
}

static inline u32 ps_meta_writes(u32 meta)
{
	return (meta >> PS_META_WRITES_SHIFT) & PS_META_COUNT_MAX;
}

/** All accesses folded into the record. */
static inline u32 ps_meta_count(u32 meta)
{
	return ps_meta_reads(meta) + ps_meta_writes(meta);
}

/** True when anything in the record writes. */
static inline bool ps_meta_has_writes(u32 meta)
{
	return (meta & PS_META_WRITES_MASK) != 0;
}

static inline bool ps_meta_first_is_write(u32 meta)
{
	return (meta & PS_META_FIRST_WRITE) != 0;
}

static inline bool ps_meta_is_fetch(u32 meta)
{
	return (meta & PS_META_FETCH) != 0;
}

/** Builds a meta word of a data access. @first_write matters only when both counts are non-zero. */
static inline u32 ps_meta_data(u32 reads, u32 writes, bool first_write)
{
	return reads | (writes << PS_META_WRITES_SHIFT) |
	       ((writes && (first_write || !reads)) ? PS_META_FIRST_WRITE : 0);
}

/** Builds a meta word of instruction fetches. */
static inline u32 ps_meta_fetch(u32 fetches)
{
	return PS_META_FETCH | fetches;
}

/* ---- words shared with the text language ---- */

/** Protection, as in mmap(2). */
enum ps_prot {
	PS_PROT_NONE = 0,
	PS_PROT_READ = 1,
	PS_PROT_WRITE = 2,
	PS_PROT_EXEC = 4,
};

/** What kind of mapping; the values are this file's own. */
enum ps_map_flag {
	PS_MAP_SHARED = 1 << 0,   /* otherwise private */
	PS_MAP_POPULATE = 1 << 1, /* touch it all at once */
	PS_MAP_STACK = 1 << 2,    /* grows down; the range is what it may grow to */
	PS_MAP_HEAP = 1 << 3,     /* moved by brk */
	PS_MAP_IMAGE = 1 << 4,    /* program image: was mapped by exec, not by the program */
	PS_MAP_INFERRED = 1 << 5, /* nobody said so: concluded from an access to it */
	PS_MAP_NORESERVE = 1 << 6,
	PS_MAP_HUGETLB = 1 << 7,
	PS_MAP_LOCKED = 1 << 8,
};

/** Words of madvise. X(NAME, word, value of the Linux system call) */
#define PS_ADVICE_LIST(X)                       \
	X(NORMAL, "normal", 0)                  \
	X(RANDOM, "random", 1)                  \
	X(SEQUENTIAL, "sequential", 2)          \
	X(WILLNEED, "willneed", 3)              \
	X(DONTNEED, "dontneed", 4)              \
	X(FREE, "free", 8)                      \
	X(REMOVE, "remove", 9)                  \
	X(DONTFORK, "dontfork", 10)             \
	X(DOFORK, "dofork", 11)                 \
	X(MERGEABLE, "mergeable", 12)           \
	X(UNMERGEABLE, "unmergeable", 13)       \
	X(HUGEPAGE, "hugepage", 14)             \
	X(NOHUGEPAGE, "nohugepage", 15)         \
	X(COLD, "cold", 20)                     \
	X(PAGEOUT, "pageout", 21)               \
	X(POPULATE_READ, "populate_read", 22)   \
	X(POPULATE_WRITE, "populate_write", 23) \
	X(COLLAPSE, "collapse", 25)

/* clang-format off */
/** Advice; the values are those of Linux's MADV_ constants. */
enum ps_advice {
#define PS_ADVICE_ENUM(name, word, value) PS_ADVICE_##name = value,
	PS_ADVICE_LIST(PS_ADVICE_ENUM)
#undef PS_ADVICE_ENUM
};
/* clang-format on */

/** The language's word for @advice, or NULL when it has none. */
const char *ps_advice_word(int advice);
/** Return: the advice called @word, or -ENOENT. */
int ps_advice_from_word(const char *word);

/* ---- events ---- */

/**
 * Kinds of event. X(NAME, word in the text dump, fields used beside kind, task and time)
 *
 * start   a process begins with an empty address space        name = program, other = parent or PS_TASK_NONE, pid, tid
 * fork    a process begins as a copy of @task                 other = the new task, pid, tid
 * thread  a thread begins in @task's address space            other = the new task, pid, tid
 * exec    @task's address space is replaced by an empty one   name = program
 * exit    @task ends (the last task of an address space frees it)
 * mmap    map [vpn, +pages), whatever was there is gone       prot, flags, name (file or ""), offset (bytes)
 * munmap  unmap [vpn, +pages)
 * mremap  move or resize [vpn, +pages)                        to_vpn, to_pages
 * mprotect                                                    prot
 * brk     the heap is [vpn, +pages) from now on
 * madvise                                                     advice
 * open    a file was opened or created                        name
 * read    length bytes of file name at offset, put into the buffer that lies in [vpn, +pages)
 *                                                             name ("" = no file), offset, length, vpn, pages
 * write   length bytes taken from the buffer, likewise
 * truncate the file is length bytes long now                  name, length
 * fsync   the file is written back                            name
 * statement  a statement of the text language, verbatim       name = the statement, line
 */
#define PS_EVENT_LIST(X)                                                                                   \
	X(START, "start", PS_FIELD_OTHER | PS_FIELD_IDS | PS_FIELD_NAME)                                   \
	X(FORK, "fork", PS_FIELD_OTHER | PS_FIELD_IDS)                                                     \
	X(THREAD, "thread", PS_FIELD_OTHER | PS_FIELD_IDS)                                                 \
	X(EXEC, "exec", PS_FIELD_NAME)                                                                     \
	X(EXIT, "exit", 0)                                                                                 \
	X(MMAP, "mmap", PS_FIELD_RANGE | PS_FIELD_PROT | PS_FIELD_FLAGS | PS_FIELD_NAME | PS_FIELD_OFFSET) \
	X(MUNMAP, "munmap", PS_FIELD_RANGE)                                                                \
	X(MREMAP, "mremap", PS_FIELD_RANGE | PS_FIELD_TO)                                                  \
	X(MPROTECT, "mprotect", PS_FIELD_RANGE | PS_FIELD_PROT)                                            \
	X(BRK, "brk", PS_FIELD_RANGE)                                                                      \
	X(MADVISE, "madvise", PS_FIELD_RANGE | PS_FIELD_ADVICE)                                            \
	X(OPEN, "open", PS_FIELD_NAME)                                                                     \
	X(READ, "read", PS_FIELD_RANGE | PS_FIELD_OFFSET | PS_FIELD_LENGTH | PS_FIELD_NAME)                \
	X(WRITE, "write", PS_FIELD_RANGE | PS_FIELD_OFFSET | PS_FIELD_LENGTH | PS_FIELD_NAME)              \
	X(TRUNCATE, "truncate", PS_FIELD_NAME | PS_FIELD_LENGTH)                                           \
	X(FSYNC, "fsync", PS_FIELD_NAME)                                                                   \
	X(STATEMENT, "statement", PS_FIELD_NAME | PS_FIELD_LINE)

/* clang-format off */
enum ps_event_kind {
#define PS_EVENT_ENUM(name, word, fields) PS_EVENT_##name,
	PS_EVENT_LIST(PS_EVENT_ENUM)
#undef PS_EVENT_ENUM
	PS_EVENT_KINDS
};
/* clang-format on */

/** Which members of struct ps_event a kind uses; the others are zero. Carriers store exactly these. */
enum ps_event_field {
	PS_FIELD_OTHER = 1 << 0,
	PS_FIELD_IDS = 1 << 1,   /* pid, tid */
	PS_FIELD_RANGE = 1 << 2, /* vpn, pages */
	PS_FIELD_TO = 1 << 3,    /* to_vpn, to_pages */
	PS_FIELD_PROT = 1 << 4,
	PS_FIELD_FLAGS = 1 << 5,
	PS_FIELD_ADVICE = 1 << 6,
	PS_FIELD_OFFSET = 1 << 7,
	PS_FIELD_LENGTH = 1 << 8,
	PS_FIELD_LINE = 1 << 9,
	PS_FIELD_NAME = 1 << 10,
};

/** Word of the text dump for @kind. */
const char *ps_event_word(enum ps_event_kind kind);
/** enum ps_event_field bits of @kind. */
unsigned int ps_event_fields(enum ps_event_kind kind);

#define PS_TASK_NONE 0xffffffffu
/** Tasks of one trace are fewer than this. */
#define PS_TASK_MAX (1u << 20)

/** Members a kind does not use are zero ("" for name). */
struct ps_event {
	enum ps_event_kind kind;
	u32 task;   /* who */
	u32 other;  /* the task created; for start the parent, or PS_TASK_NONE */
	u32 pid;    /* of the task created, as the recorded system numbered it; 0 = unknown */
	u32 tid;    /* 1 for the first thread of a process */
	u64 time;   /* when, on the trace's clock */
	u64 vpn;    /* first page of the range */
	u64 pages;  /* its length */
	u64 to_vpn; /* mremap: where it is now */
	u64 to_pages;
	u32 prot;         /* enum ps_prot bits */
	u32 flags;        /* enum ps_map_flag bits */
	int advice;       /* enum ps_advice, or another number the recorded program used */
	u32 line;         /* statement: its line in the script */
	u64 offset;       /* in the file, bytes */
	u64 length;       /* bytes */
	const char *name; /* path, program or statement; never NULL, "" when it has none. Borrowed */
};

/* ---- what a reader hands out ---- */

/** No batch is longer than this. */
#define PS_TRACE_BATCH_MAX 2048

/**
 * A run of accesses of one task (n > 0, event NULL) or one event (n == 0, event set). The arrays belong to the reader and
 * hold until its next call. Time inside a batch is known at both ends only: record i happens at about
 * time + span * i / n.
 */
struct ps_trace_batch {
	const u64 *vpn;  /* [n] virtual page numbers */
	const u32 *meta; /* [n] meta words */
	u32 n;
	u32 task;
	u64 time; /* of the first record */
	u64 span; /* until the end of the last: with an instruction clock, the instructions @task executed meanwhile */
	const struct ps_event *event;
};

/** Unit of a trace's times. */
enum ps_trace_clock {
	PS_CLOCK_NS,           /* nanoseconds */
	PS_CLOCK_INSTRUCTIONS, /* instructions executed so far by all tasks together */
	PS_CLOCK_ACCESSES,     /* accesses so far: the source has no clock at all */
};

/** "ns", "instructions", "accesses". */
const char *ps_trace_clock_word(enum ps_trace_clock clock);
/** Return: the clock called @word, or -ENOENT. */
int ps_trace_clock_from_word(const char *word);

/** One named total of a whole trace: "accesses", "loads", "syscall.mmap"... */
struct ps_trace_total {
	const char *name;
	u64 value;
};

/**
 * What a trace says about itself. All strings are borrowed from whoever owns the struct; "" when unknown.
 */
struct ps_trace_info {
	const char *source;     /* what produced the data: "lackey", "script", "synthetic"... */
	const char *command;    /* the command line of the recorded program */
	const char *created_by; /* the program that wrote the trace, with its version */
	const char *note;       /* free text */
	enum ps_trace_clock clock;
	u32 fold; /* folding distance the accesses were written with, see trace_file.h */
};

#ifdef __cplusplus
}
#endif
#endif
