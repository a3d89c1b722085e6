/* SPDX-License-Identifier: MIT */
/*
 * The inside of the lackey importer, in three files: lackey.c cuts text into lines and follows who is running, lackey_process.c
 * knows what each process has mapped and opened, lackey_syscall.c turns finished system calls into events and changes of that
 * knowledge.
 *
 * Without memory: what cannot be kept is forgotten, lackey->no_memory says so, and the line at hand is the last one that is read. So
 * nothing here answers NULL but what is asked from outside: a process or a thread there is no room for is the spare one.
 */
#ifndef TRACE_LACKEY_H
#define TRACE_LACKEY_H

#include <pagesim/trace_import.h>

#include "base/grow.h"

/* Pages known to be mapped: sorted, disjoint, never adjacent ranges. And a small table of pages just found to be. */
#define KNOWN_SLOTS 256

struct known_range {
	u64 start, end; /* pages, half open */
};

struct known {
	struct ps_grow ranges; /* struct known_range */
	u64 slot[KNOWN_SLOTS]; /* slot[vpn % KNOWN_SLOTS] == vpn: mapped; ~0 otherwise */
};

void known_init(struct known *k);
void known_clear(struct known *k);
void known_destroy(struct known *k);
/* Each: false without memory; then nothing is known that was not, and what was to be removed is still there. */
bool known_copy(struct known *to, const struct known *from);
bool known_add(struct known *k, u64 start, u64 end);
bool known_remove(struct known *k, u64 start, u64 end);
bool known_lookup(struct known *k, u64 vpn);
/* The first gap of [start, end) that is not known. Return: false when there is none. */
bool known_gap(const struct known *k, u64 start, u64 end, u64 *gap_start, u64 *gap_end);

static inline bool known_has(struct known *k, u64 vpn)
{
	return likely(k->slot[vpn % KNOWN_SLOTS] == vpn) || known_lookup(k, vpn);
}

/* An open file, shared by the descriptors dup and fork make of it. */
struct open_file {
	u64 position;
	u32 references;
	char path[]; /* "" for what is no file */
};

struct descriptor {
	int fd;
	bool close_on_exec;
	struct open_file *file;
};

/* A part of a file that was mapped when the program began: its segments, and those of its loader. Shared by forks. */
struct image_range {
	u64 start, end; /* pages */
	u64 offset;     /* bytes */
	u32 prot;
	char *path;
};

struct image {
	u32 references;
	struct ps_grow ranges; /* struct image_range, ascending */
};

/* Shared memory: a segment and its size, or an attachment and where it is. */
struct segment {
	u64 id; /* shmid, or first page */
	u64 pages;
};

#define CALL_ARGUMENTS 6

/* A system call between its line and its result. */
struct call {
	const struct call_kind *kind;
	u64 argument[CALL_ARGUMENTS];
	char *text; /* the string among the arguments, or NULL */
};

struct thread {
	u32 number; /* valgrind's */
	u32 task;
	bool pending;
	struct call call;
};

struct process {
	struct ps_lackey *lackey;
	u32 pid;
	u32 task; /* of its first thread */
	bool exited;
	bool stack_known;
	struct known known;
	u64 stack_top;  /* page; 0 = not known yet */
	u64 heap_start; /* page; 0 = not known yet */
	u64 heap_end;
	struct image *image;     /* NULL: not known */
	char *directory;         /* where relative paths begin; NULL: not known */
	struct ps_grow files;    /* struct descriptor, ascending */
	struct ps_grow attached; /* struct segment */
	struct ps_grow threads;  /* struct thread *, ascending */
	struct thread spare;     /* answers for a thread there was no memory for */
	u32 running;             /* valgrind's number of the thread that runs */
	u64 last_run;            /* when a line was last known to be of it: lines read by then */
};

struct syscall_count {
	char *name;
	u64 n;
};

struct ps_lackey {
	struct ps_trace_writer *writer;
	struct ps_lackey_settings settings;
	struct ps_lackey_counts counts;
	char *command;
	struct ps_grow all;       /* struct process *, every one there was: streams may point to it */
	struct ps_grow processes; /* struct process *, the newest of each pid, ascending */
	struct process *spare;    /* answers for a process there was no memory for; not among them */
	struct ps_grow streams;   /* struct ps_lackey_stream * */
	struct ps_grow syscalls;  /* struct syscall_count, by name */
	struct ps_grow segments;  /* struct segment: shared memory whose size a call has said */
	u32 tasks;
	bool no_memory;

	/* Of who can ask the processes themselves; all may be NULL. */
	char *directory;                                        /* where the first program begins */
	char *(*maps)(void *arg, u32 pid, const char *command); /* see lackey_watch() */
	void *maps_arg;
};

struct ps_lackey_stream {
	struct ps_lackey *lackey;
	char *name;
	u32 pid; /* all of it is from this process; 0 = unknown */
	u32 line;
	struct ps_grow rest; /* text not yet cut into lines; a zero behind it */
	bool failed;
	bool forked; /* mixed: several processes may write into this text, so lines may be torn */
	u64 instructions;

	struct process *process; /* who writes the memory lines */
	u32 task;

	/* a header of valgrind was seen; what it means shows in the next line */
	bool header;
	u32 header_pid, header_parent;
	char *header_command;

	struct process *awaited; /* whose fork or system call has its result on a line of its own */
	u32 awaited_thread;
	u32 child; /* the newest one forked in this text */

	/* for merging files by ps_lackey_import() */
	bool merged;
	int fd;
	bool active, ended;
	u64 clock_start;
	struct ps_lackey_stream *waits_for;
};

/* ---- lackey.c ---- */

/*
 * The processes live and can be asked: programs begin in @directory, and @maps tells what is mapped in @pid, in the form
 * of /proc/PID/maps, if @command is what runs there now; NULL when that cannot be known. ps_free() frees its answer.
 */
void lackey_watch(struct ps_lackey *lackey, const char *directory,
		  char *(*maps)(void *arg, u32 pid, const char *command), void *arg);
/* A copy of a text's first @n bytes. Return: NULL without memory, which is noted. */
char *lackey_text(struct ps_lackey *lackey, const char *text, size_t n);

struct process *lackey_process(struct ps_lackey *lackey, u32 pid);
void lackey_count_syscall(struct ps_lackey *lackey, const char *name);
/* The process of @stream was just forked from @parent's thread @thread. */
void lackey_forked(struct ps_lackey_stream *stream, struct process *parent, u32 thread, u32 pid);
/* @pid was waited for and is gone. */
void lackey_reaped(struct ps_lackey_stream *stream, u32 pid);

static inline u64 lackey_time(const struct ps_lackey *lackey)
{
	return lackey->counts.fetches;
}

/* ---- lackey_process.c ---- */

struct process *process_alloc(struct ps_lackey *lackey);
struct process *process_new(struct ps_lackey *lackey, u32 pid);
void process_free(struct process *p);
/* The program of @p has begun: what is mapped already, as /proc/PID/maps says it; NULL forgets what was known. */
void process_set_image(struct process *p, const char *maps);
struct process *process_fork(struct process *parent, u32 thread, u32 pid);
/* The process is somebody else now: nothing mapped, one thread. */
void process_exec(struct process *p, const char *command);
void process_exit(struct process *p);
struct thread *process_thread(struct process *p, u32 number);
/* Return: whether thread @number is known to live. */
bool process_has_thread(const struct process *p, u32 number);
void process_thread_exit(struct process *p, u32 number);
/* Events of @p by thread @number; time is set. */
struct ps_event process_event(struct process *p, u32 number, enum ps_event_kind kind);
/* Page @vpn is accessed and not known: conclude what it belongs to, and say so in the trace. */
void process_infer(struct process *p, u64 vpn, bool fetch);
/* All of [start, end) must be mapped, because the kernel did something to it. */
void process_infer_range(struct process *p, u64 start, u64 end);

/* Known, and without memory noted. */
void process_know(struct process *p, u64 start, u64 end);
void process_forget(struct process *p, u64 start, u64 end);

struct open_file *process_file(struct process *p, s64 fd);
void process_set_close_on_exec(struct process *p, s64 fd, bool close_on_exec);
void process_open(struct process *p, s64 fd, const char *path, bool close_on_exec);
void process_dup(struct process *p, s64 from, s64 to, bool close_on_exec);
void process_close(struct process *p, s64 fd);

/* ---- lackey_syscall.c ---- */

/* "process 812 created child 813" somewhere in @text: sets both. */
bool lackey_find_child(const char *text, u32 *parent, u32 *child);
/* A line of thread @thread of @p, from behind "SYSCALL[pid,tid](nr)" to its end, which is a zero. */
void lackey_syscall(struct ps_lackey_stream *stream, struct process *p, u32 thread, const char *line);
/* The result of the call thread @thread of @p is in: " --> [...] Success(0x..)". */
void lackey_result(struct ps_lackey_stream *stream, struct process *p, u32 thread, const char *text);

#endif
