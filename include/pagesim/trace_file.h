/* SPDX-License-Identifier: MIT */
/*
 * The binary carrier of traces, `.pgt`: a header, independent compressed frames, an index and a footer, every byte under
 * a checksum. The writer folds and streams (it never seeks, so it writes to a pipe as well); the reader needs no index to
 * read from front to back, and with the index decodes any frame alone. The byte table is in docs/traces.md.
 *
 * Folding. An access goes into the record of its page if that page has one among the last `fold` records of the task's
 * current run, otherwise it begins a new record. So the order of the *first* touches is exact, and a page's later touches
 * move back past less than `fold` other pages. fold = 1 merges only accesses that follow each other directly. A run ends at
 * every event, at every change of task and after PS_TRACE_BATCH_MAX records; nothing is ever folded across its end.
 *
 * Names in this file:
 *   struct ps_trace_writer     accesses and events in, bytes out
 *   struct ps_trace_reader     bytes in, batches out; any form of trace the layer can read without importing
 *   frame                      up to 2^16 records and what happened between them, compressed by itself
 *
 * Layer: trace
 */
#ifndef PAGESIM_TRACE_FILE_H
#define PAGESIM_TRACE_FILE_H

#include <pagesim/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version this build writes, and the newest it reads. */
#define PS_PGT_VERSION 1

/* ---- writing ---- */

struct ps_trace_writer;

/** All-zero is the default. */
struct ps_trace_writer_settings {
	int level;         /* zstd level; 0 = 6 */
	u32 fold;          /* folding distance in records, 1..64; 0 = 1 */
	u32 frame_records; /* close a frame after this many records; 0 = 2^16, at most that */
};

/**
 * Starts a trace.
 * @fd: written to front to back, never closed, never seeked.
 * @name: what to call it in errors.
 * @info: copied. Its fold member is ignored: settings decide.
 * @settings: NULL = defaults.
 * Return: the writer, or NULL with @error set.
 */
struct ps_trace_writer *ps_trace_writer_new(int fd, const char *name, const struct ps_trace_info *info,
					    const struct ps_trace_writer_settings *settings, GError **error);

/**
 * Says the recorded command line after the fact. Possible until the first access or event is written.
 * Return: true when it was still possible.
 */
bool ps_trace_writer_set_command(struct ps_trace_writer *w, const char *command);

/**
 * One access of one page at @time (times never go back; an earlier one counts as the last). Folds.
 * Errors are remembered and reported by ps_trace_writer_finish().
 */
void ps_trace_writer_access(struct ps_trace_writer *w, u32 task, u64 vpn, enum ps_access_kind kind, u64 time);

/** One record that is folded already, kept as it is: no later access folds into it. */
void ps_trace_writer_record(struct ps_trace_writer *w, u32 task, u64 vpn, u32 meta, u64 time);

/**
 * The clock reaches @time in @task without an access: ends the current batch there if it belongs to @task. Carriers that
 * must keep batches as they are use it between them.
 */
void ps_trace_writer_cut(struct ps_trace_writer *w, u64 time);

/** One event. Ends the current batch. */
void ps_trace_writer_event(struct ps_trace_writer *w, const struct ps_event *event);

/** Adds @value to the total called @name of the whole trace; totals are written by finish. */
void ps_trace_writer_total(struct ps_trace_writer *w, const char *name, u64 value);

/** Return: false with @error set when something already went wrong (an early look; finish says it again). */
bool ps_trace_writer_ok(struct ps_trace_writer *w, GError **error);

/**
 * Writes what is open, the index and the footer. Call once, then free.
 * Return: true, or false with @error set to the first thing that went wrong since the writer was made.
 */
bool ps_trace_writer_finish(struct ps_trace_writer *w, GError **error);

/** Frees a writer, finished or not. NULL is fine. */
void ps_trace_writer_free(struct ps_trace_writer *w);

/* ---- reading ---- */

struct ps_trace_reader;

enum ps_trace_next {
	PS_TRACE_BATCH, /* a batch of accesses or one event is there */
	PS_TRACE_END,   /* the trace ended where it should */
	PS_TRACE_FAILED /* error set; everything handed out before stays true */
};

/**
 * Opens a `.pgt` file, a bulk text dump or a script (whose statements come as events); "-" is standard input.
 * Nothing but the header is read.
 * Return: the reader, or NULL with @error set.
 */
struct ps_trace_reader *ps_trace_reader_open(const char *path, GError **error);

/** The same on a descriptor, which is not closed. @name is for messages. */
struct ps_trace_reader *ps_trace_reader_new(int fd, const char *name, GError **error);

/** What the header says. Strings live as long as the reader. */
const struct ps_trace_info *ps_trace_reader_info(const struct ps_trace_reader *r);

/** The name given at opening. */
const char *ps_trace_reader_name(const struct ps_trace_reader *r);

/**
 * The next batch.
 * @batch: filled on PS_TRACE_BATCH; its pointers hold until the next call on this reader.
 * @error: set on PS_TRACE_FAILED. Failure is final: every further call fails with the same words.
 */
enum ps_trace_next ps_trace_reader_next(struct ps_trace_reader *r, struct ps_trace_batch *batch, GError **error);

/**
 * Totals of the whole trace. Known after PS_TRACE_END, or as soon as ps_trace_reader_load_index() succeeded.
 * @n: their number. Return: the array, owned by the reader; NULL (and 0) when not known.
 * Every trace has "accesses", "reads", "writes", "fetches", "records", "events", "tasks" and "time"
 * (the latest).
 */
const struct ps_trace_total *ps_trace_reader_totals(const struct ps_trace_reader *r, size_t *n);

/** One total by name, or @otherwise when it is not there or not known yet. */
u64 ps_trace_reader_total(const struct ps_trace_reader *r, const char *name, u64 otherwise);

/** One line of the index. */
struct ps_trace_frame {
	u64 offset;    /* of the frame in the file, bytes */
	u64 time;      /* of its first record or event */
	u64 records;   /* folded accesses in it */
	u64 accesses;  /* accesses in it */
	u64 events;    /* events in it */
	u64 bytes;     /* stored size, with its header */
	u64 raw_bytes; /* size before compression */
};

/**
 * Reads the index of a seekable `.pgt` file. Harmless to call twice; the position of reading does not change.
 * Return: true; false with @error set when it has none, cannot seek, or it is damaged.
 */
bool ps_trace_reader_load_index(struct ps_trace_reader *r, GError **error);

/** Frames read so far, or all of them once the index is loaded. */
const struct ps_trace_frame *ps_trace_reader_frames(const struct ps_trace_reader *r, size_t *n);

/**
 * Continues with frame @index (0-based). Needs the index. Task numbers, times and pages are absolute, so a frame means the same
 * wherever reading starts; what was mapped before it is not repeated.
 */
bool ps_trace_reader_seek(struct ps_trace_reader *r, size_t index, GError **error);

/**
 * Writes what is left of a trace as bulk text (docs/traces.md), which ps_trace_reader_open() reads back to the same batches.
 * Return: true, or false with @error set; batches before the failure are written.
 */
bool ps_trace_dump(struct ps_trace_reader *r, int fd, const char *name, GError **error);

/** Gives what is left of a trace to @w, batch by batch, totals included. Return: as ps_trace_dump(). */
bool ps_trace_copy(struct ps_trace_reader *r, struct ps_trace_writer *w, GError **error);

/** Bytes of the file consumed so far (for progress lines), and its size or 0 when unknown. */
u64 ps_trace_reader_position(const struct ps_trace_reader *r, u64 *size);

/** Frees a reader. NULL is fine. */
void ps_trace_reader_free(struct ps_trace_reader *r);

/* ---- what is this file? ---- */

enum ps_trace_form {
	PS_FORM_UNKNOWN,
	PS_FORM_EMPTY,  /* no bytes at all */
	PS_FORM_PGT,    /* binary */
	PS_FORM_BULK,   /* the text dump of a binary trace */
	PS_FORM_SCRIPT, /* statements of the trace language */
	PS_FORM_LACKEY, /* valgrind --tool=lackey output */
};

/** Judges by the first bytes. @n bytes are there; 4096 are enough for a sure answer. */
enum ps_trace_form ps_trace_sniff(const void *bytes, size_t n);

/**
 * Judges what can be read from @path without taking anything from it: "-" (standard input, also when it is a pipe) can
 * be opened afterwards as if nobody had looked. A terminal counts as a script.
 * Return: the form; PS_FORM_UNKNOWN with @error set when it cannot be opened or read, without when it is none of ours.
 */
enum ps_trace_form ps_trace_form_of(const char *path, GError **error);

/** "binary trace (.pgt)", "script (.pgs)"... for messages. */
const char *ps_trace_form_word(enum ps_trace_form form);

#ifdef __cplusplus
}
#endif
#endif
