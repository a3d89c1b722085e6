/* SPDX-License-Identifier: MIT */
/*
 * The text carrier of the trace language, `.pgs`: one statement a line, parsed completely into a struct, and nothing
 * looked up. Region sizes, task lifetimes and files exist only when a statement runs, so everything that needs them is
 * the caller's; everything that can be wrong with the words alone is found here and reported as
 * `FILE:LINE: expected WHAT, found 'WORD'`. The language is described in docs/traces.md.
 *
 * Every verb is parsed, whether or not the build can execute it.
 *
 * Names in this file:
 *   struct ps_script           a file of statements, and where it stops being one
 *   struct ps_statement        one line: subject, verb and typed operands
 *   struct ps_range            NAME, NAME[i], NAME[i:j] or NAME[i:j:step], in pages of 4 KiB
 *   racer                      the NAME of a `NAME: STATEMENT` line between `race` and `end`
 *
 * Layer: trace
 */
#ifndef PAGESIM_TRACE_TEXT_H
#define PAGESIM_TRACE_TEXT_H

#include <pagesim/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Who a statement is addressed to. */
enum ps_subject {
	PS_SUBJECT_TASK,   /* a task: `A load r` */
	PS_SUBJECT_KERNEL, /* `kernel drain` */
	PS_SUBJECT_SCRIPT, /* the script itself: machine, quirk, race, end, expect */
};

/**
 * All verbs. X(NAME, subject, word, form): the form says the operands in words, and behind it are the members of struct
 * ps_statement they fill. docs/traces.md describes the language, sim/trace/trace_text.c is its grammar.
 */
/* clang-format off */
#define PS_VERB_LIST(X) \
	X(MACHINE, SCRIPT, "machine", "NAME")                                  /* name */ \
	X(QUIRK, SCRIPT, "quirk", "NAME")                                      /* name */ \
	X(RACE, SCRIPT, "race", "") \
	X(END, SCRIPT, "end", "") \
	X(EXPECT, SCRIPT, "expect", "RESULT...")                               /* name: the words after it */ \
	X(START, TASK, "start", "[cpu=N]")                                     /* number = N or 0 */ \
	X(FORK, TASK, "fork", "TASK")                                          /* name */ \
	X(THREAD, TASK, "thread", "TASK")                                      /* name */ \
	X(EXIT, TASK, "exit", "") \
	X(CPU, TASK, "cpu", "N")                                               /* number */ \
	X(UNPRIVILEGED, TASK, "unprivileged", "") \
	X(MMAP, TASK, "mmap", "REGION SIZE anon|file PATH OPTIONS")            /* name, bytes, path, prot, map, number = at */ \
	X(RESERVE, TASK, "reserve", "REGION SIZE")                             /* name, bytes */ \
	X(MUNMAP, TASK, "munmap", "RANGE")                                     /* range */ \
	X(MPROTECT, TASK, "mprotect", "RANGE none|ro|rw")                      /* range, prot */ \
	X(MREMAP, TASK, "mremap", "RANGE to REGION")                           /* range, other */ \
	X(MADVISE, TASK, "madvise", "RANGE WORD")                              /* range, advice */ \
	X(MLOCK, TASK, "mlock", "RANGE")                                       /* range */ \
	X(MUNLOCK, TASK, "munlock", "RANGE")                                   /* range */ \
	X(MEMPOLICY, TASK, "mempolicy", "POLICY")                              /* policy */ \
	X(MBIND, TASK, "mbind", "RANGE POLICY [move|move_all] [strict]")       /* range, policy, bind */ \
	X(LOAD, TASK, "load", "RANGE")                                         /* range */ \
	X(STORE, TASK, "store", "RANGE [=V]")                                  /* range, value */ \
	X(CHECK, TASK, "check", "RANGE [=V]")                                  /* range, value */ \
	X(PREAD, TASK, "pread", "FILE")                                        /* range */ \
	X(PWRITE, TASK, "pwrite", "FILE [=V]")                                 /* range, value */ \
	X(FSYNC, TASK, "fsync", "FILE")                                        /* range */ \
	X(TRUNCATE, TASK, "truncate", "FILE PAGES")                            /* range, number */ \
	X(FADVISE, TASK, "fadvise", "FILE dontneed")                           /* range, advice */ \
	X(GET, TASK, "get", "RANGE")                                           /* range */ \
	X(PUT, TASK, "put", "RANGE")                                           /* range */ \
	X(PIN, TASK, "pin", "RANGE")                                           /* range */ \
	X(UNPIN, TASK, "unpin", "RANGE")                                       /* range */ \
	X(MOVE_PAGES, TASK, "move_pages", "RANGE to NODE, ... [all]")          /* items, all */ \
	X(MIGRATE_PAGES, TASK, "migrate_pages", "NODES to NODES")              /* nodes, to_nodes */ \
	X(EXCHANGE, TASK, "exchange", "RANGE with TASK RANGE [async|sync_light|sync]") /* range, name, other, mode */ \
	X(SPLIT, TASK, "split", "RANGE [to ORDER]")                            /* range, number = order */ \
	X(CLEAR_REFS, TASK, "clear_refs", "") \
	X(STATUS, TASK, "status", "RANGE")                                     /* items[0] and range */ \
	X(SHOW, TASK, "show", "RANGE")                                         /* range */ \
	X(SMAPS, TASK, "smaps", "RANGE")                                       /* range */ \
	X(KERNEL_DRAIN, KERNEL, "drain", "") \
	X(KERNEL_COMPACT, KERNEL, "compact", "[NODE]")                         /* node, or PS_NODE_ALL */ \
	X(KERNEL_DROP_CACHES, KERNEL, "drop_caches", "1|2|3")                  /* number */ \
	X(KERNEL_SWAP, KERNEL, "swap", "on|off")                               /* on */ \
	X(KERNEL_BALLOON, KERNEL, "balloon", "+N|-N")                          /* pages, signed */ \
	X(KERNEL_SET, KERNEL, "set", "NAME VALUE")                             /* name, word */ \
	X(KERNEL_RECLAIM, KERNEL, "reclaim", "NODE PAGES")                     /* node, number */ \
	X(KERNEL_WRITEBACK, KERNEL, "writeback", "FILE begin|end")             /* range, on = begin */ \
	X(KERNEL_NODES, KERNEL, "nodes", "") \
	X(KERNEL_VMSTAT, KERNEL, "vmstat", "") \
	X(KERNEL_COUNTERS, KERNEL, "counters", "")
/* clang-format on */

/* clang-format off */
enum ps_verb {
#define PS_VERB_ENUM(name, subject, word, form) PS_VERB_##name,
	PS_VERB_LIST(PS_VERB_ENUM)
#undef PS_VERB_ENUM
	PS_VERBS
};
/* clang-format on */

/** The word of @verb, without its subject. */
const char *ps_verb_word(enum ps_verb verb);
/** Its operands in words, for messages: "RANGE to NODE, ... [all]". */
const char *ps_verb_form(enum ps_verb verb);
enum ps_subject ps_verb_subject(enum ps_verb verb);

/** No node given: all of them. */
#define PS_NODE_ALL (-1)

struct ps_range {
	const char *name; /* region or file */
	bool is_file;     /* name is a path below /t/ or /d/ */
	bool whole;       /* NAME alone: first, end mean nothing, step is 1 */
	u64 first;        /* first page */
	u64 end;          /* one past the last; > first */
	u64 step;         /* >= 1 */
};

/** Pages a range names, when @total is the size of what it lies in. */
static inline u64 ps_range_pages(const struct ps_range *r, u64 total)
{
	return r->whole ? total : (r->end - r->first + r->step - 1) / r->step;
}

enum ps_policy_mode {
	PS_POLICY_DEFAULT,
	PS_POLICY_BIND,
	PS_POLICY_PREFERRED,
	PS_POLICY_INTERLEAVE,
	PS_POLICY_WEIGHTED,
};

/** A list of nodes as written: any numbers, any order, repetitions kept. */
struct ps_node_list {
	const int *node;
	const u32 *weight; /* [n] for weighted policies, else NULL */
	u32 n;
};

struct ps_policy_words {
	enum ps_policy_mode mode;
	struct ps_node_list nodes; /* n = 0 for default */
};

/** One element of move_pages and status. */
struct ps_move_item {
	struct ps_range range;
	int node; /* as written, may be negative or absurd */
};

enum ps_bind_flag {
	PS_BIND_STRICT = 1,
	PS_BIND_MOVE = 2,
	PS_BIND_MOVE_ALL = 4,
};

/** Mode of exchange; the default is sync. */
enum ps_exchange_mode {
	PS_EXCHANGE_ASYNC,
	PS_EXCHANGE_SYNC_LIGHT,
	PS_EXCHANGE_SYNC,
};

struct ps_statement {
	u32 line; /* in its file, from 1 */
	enum ps_verb verb;
	const char *text;    /* the statement as the transcript prints it: words joined by one space, no comment */
	const char *subject; /* the task's name; "kernel"; "" for the script's own */
	const char *racer;   /* between race and end: who does it; else NULL */
	bool has_time;
	ps_ns_t time; /* @TIME in ns */

	struct ps_range range;
	struct ps_range other; /* mremap: destination; exchange: the partner's range */
	const struct ps_move_item *items;
	u32 n_items;
	bool all;         /* move_pages ... all */
	const char *name; /* new task, region, setting, machine, quirk, partner, expected result */
	const char *path; /* mmap of a file, else NULL */
	const char *word; /* value of a setting */
	u64 bytes;        /* a size; a multiple of 4096 */
	u64 number;
	s64 pages; /* balloon */
	bool has_value;
	u64 value; /* of =V, 0 without */
	u32 prot;  /* enum ps_prot bits */
	u32 map;   /* enum ps_map_flag bits */
	int advice;
	u32 bind; /* enum ps_bind_flag bits */
	int node;
	bool on;
	enum ps_exchange_mode mode;
	struct ps_policy_words policy;
	struct ps_node_list nodes;
	struct ps_node_list to_nodes;
};

/** A parsed file. Statements, strings and arrays live as long as it. */
struct ps_script {
	const char *name;
	const struct ps_statement *statements;
	u32 n;
	const GError *error; /* why parsing stopped, or NULL; the n statements before it are good */
	u32 error_line;
	const char *error_text; /* the offending line as the transcript prints it ("" when it has no words) */
};

/**
 * Parses a file; "-" is standard input. @name (or the path when NULL) stands in front of every message.
 * Return: the script, which may carry an error of its own (script->error: bad words in line N); NULL with @error set when the file
 * cannot be read at all.
 */
struct ps_script *ps_script_open(const char *path, const char *name, GError **error);

/** The same from memory; NULL only without memory. @text need not end in a newline or be UTF-8 (that is a parse error then). */
struct ps_script *ps_script_parse(const char *text, size_t length, const char *name);

/** Frees a script. NULL is fine. */
void ps_script_free(struct ps_script *script);

/** Parses one time: "250us", "1.5ms", "7" (ns). Return: 0, or -EINVAL with @ret_ns untouched. */
int ps_parse_time(const char *word, ps_ns_t *ret_ns);

/** Parses one size: digits and K, M, G or T. Return: 0, -EINVAL, or -ERANGE beyond 64 bits; @ret_bytes untouched then. */
int ps_parse_size(const char *word, u64 *ret_bytes);

#ifdef __cplusplus
}
#endif
#endif
