/* SPDX-License-Identifier: MIT */
/*
 * What the three kinds of reader share: one input with a little look-ahead, one sticky error, one place for a batch. Each kind
 * (binary, bulk text, script) is a const table of three functions over struct ps_trace_reader.
 */
#ifndef TRACE_READER_H
#define TRACE_READER_H

#include <pagesim/trace_file.h>
#include <pagesim/trace_text.h>

#include "base/grow.h"

#define INPUT_BYTES 65536

/* Bytes from a descriptor, in order, with the offset they have in the file. */
struct input {
	int fd;
	const char *name;
	u64 offset;   /* of the next byte handed out, from where reading began */
	size_t at, n; /* unread part of buffer: [at, n) */
	bool ended;
	u8 buffer[INPUT_BYTES];
};

/* Makes the next bytes visible without taking them, up to INPUT_BYTES / 2. Return: how many are there; < @want only at the end. -1: error. */
ssize_t input_peek(struct input *in, size_t want, const u8 **ret, GError **error);
/* Takes @n bytes. Return: how many came; < @n only at the end of the file. -1: error. */
ssize_t input_read(struct input *in, void *to, size_t n, GError **error);

struct reader_ops {
	enum ps_trace_next (*next)(struct ps_trace_reader *r, struct ps_trace_batch *batch, GError **error);
	bool (*load_index)(struct ps_trace_reader *r, GError **error);
	bool (*seek)(struct ps_trace_reader *r, size_t index, GError **error);
	void (*free)(struct ps_trace_reader *r);
};

struct ps_trace_reader {
	const struct reader_ops *ops;
	int owned_fd; /* to be closed, or -1 */
	char *name;
	GError *error; /* what every further call answers */
	bool ended;

	char *source, *command, *created_by, *note;
	struct ps_trace_info info;
	struct ps_grow totals; /* struct ps_trace_total, names owned */
	bool totals_known;
	bool no_memory;        /* something could not be kept: the next error, or the end, says so */
	struct ps_grow frames; /* struct ps_trace_frame */

	struct input in;
	struct ps_event event;
	void *own; /* of the kind */
	u64 vpn[PS_TRACE_BATCH_MAX];
	u32 meta[PS_TRACE_BATCH_MAX];
};

/* Each opens its kind on r->in, whose first bytes are still unread. Return: false with @error set. */
bool pgt_open(struct ps_trace_reader *r, GError **error);
bool bulk_open(struct ps_trace_reader *r, GError **error);
bool script_open(struct ps_trace_reader *r, GError **error);

/** Sets the error that says that there is no memory. Return: false. */
bool reader_no_memory(struct ps_trace_reader *r, GError **error);
/** A copy of a text, which need not end in a zero. Return: NULL, with the reader's no_memory set. */
char *reader_string(struct ps_trace_reader *r, const char *text, size_t length);
void reader_forget_totals(struct ps_trace_reader *r);
void reader_add_total(struct ps_trace_reader *r, const char *name, size_t length, u64 value);
/* Publishes the four strings through r->info. */
void reader_set_info(struct ps_trace_reader *r);

#endif
