/* SPDX-License-Identifier: MIT */
/*
 * The front of all trace readers: find out what the bytes are, pick the kind of reader, keep its error. And the two things
 * that are the same for every kind: copying a trace into a writer, and telling forms apart.
 */
#define _GNU_SOURCE
#include "trace/reader.h"
#include "trace/lackey_line.h"
#include "trace/pgt.h"

#include <pagesim/alloc.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BULK_MAGIC "# pagesim bulk trace"

/* ---- input ---- */

static ssize_t read_some(struct input *in, void *to, size_t n, GError **error)
{
	ssize_t k;

	do {
		k = read(in->fd, to, n);
	} while (k < 0 && errno == EINTR);
	if (k < 0)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot read: %s", in->name,
			    g_strerror(errno));
	if (k == 0)
		in->ended = true;
	return k;
}

ssize_t input_peek(struct input *in, size_t want, const u8 **ret, GError **error)
{
	if (in->n - in->at < want && in->at) {
		memmove(in->buffer, in->buffer + in->at, in->n - in->at);
		in->n -= in->at;
		in->at = 0;
	}
	while (in->n - in->at < want && !in->ended) {
		ssize_t k = read_some(in, in->buffer + in->n, sizeof(in->buffer) - in->n, error);

		if (k < 0)
			return -1;
		in->n += k;
	}
	*ret = in->buffer + in->at;
	return in->n - in->at;
}

ssize_t input_read(struct input *in, void *to, size_t n, GError **error)
{
	size_t got = MIN(n, in->n - in->at);
	u8 *p = to;

	memcpy(p, in->buffer + in->at, got);
	in->at += got;
	while (got < n && !in->ended) {
		ssize_t k = read_some(in, p + got, n - got, error);

		if (k < 0)
			return -1;
		got += k;
	}
	in->offset += got;
	return got;
}

/* ---- what is this? ---- */

enum ps_trace_form ps_trace_sniff(const void *bytes, size_t n)
{
	const char *p = bytes, *end = p + n;

	if (!n)
		return PS_FORM_EMPTY;
	if (!memcmp(p, PGT_MAGIC, MIN(n, PGT_MAGIC_BYTES)))
		return PS_FORM_PGT;
	if (n >= strlen(BULK_MAGIC) && !memcmp(p, BULK_MAGIC, strlen(BULK_MAGIC)))
		return PS_FORM_BULK;
	if (lackey_looks_like(p, n))
		return PS_FORM_LACKEY;
	/* A script is text: no control characters, and lines of words. */
	if (end - p > 4096)
		end = p + 4096;
	for (; p < end; p++)
		if ((u8)*p < ' ' && *p != '\n' && *p != '\t' && *p != '\r')
			return PS_FORM_UNKNOWN;
	return PS_FORM_SCRIPT;
}

const char *ps_trace_form_word(enum ps_trace_form form)
{
	switch (form) {
	case PS_FORM_EMPTY:
		return "empty file";
	case PS_FORM_PGT:
		return "binary trace (.pgt)";
	case PS_FORM_BULK:
		return "bulk text trace";
	case PS_FORM_SCRIPT:
		return "script (.pgs)";
	case PS_FORM_LACKEY:
		return "lackey output of valgrind";
	case PS_FORM_UNKNOWN:
		break;
	}
	return "unknown kind of file";
}

#define SNIFF_BYTES 4096
/* How long a pipe may take to come up with its first line. */
#define SNIFF_TRIES 2000

/* A look into a pipe: its content is duplicated into another one, and the copy read. Return: bytes, 0 at its end, -1. */
static ssize_t look_into_pipe(int fd, char *bytes)
{
	int copy[2];
	ssize_t n;

	if (pipe(copy))
		return -1;
	do {
		n = tee(fd, copy[1], SNIFF_BYTES, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		n = read(copy[0], bytes, (size_t)n);
	close(copy[0]);
	close(copy[1]);
	return n;
}

static ssize_t look(int fd, char *bytes)
{
	struct stat st;
	ssize_t n = 0, before;

	if (fstat(fd, &st))
		return -1;
	if (S_ISREG(st.st_mode))
		return pread(fd, bytes, SNIFF_BYTES, lseek(fd, 0, SEEK_CUR));
	if (S_ISSOCK(st.st_mode))
		return recv(fd, bytes, SNIFF_BYTES, MSG_PEEK);
	if (!S_ISFIFO(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : 0;
		return S_ISDIR(st.st_mode) ? -1 : 0;
	}
	/* Wait for a whole line, or for the end. */
	for (int i = 0; i < SNIFF_TRIES; i++) {
		before = n;
		n = look_into_pipe(fd, bytes);
		if (n <= 0 || n >= 64 || memchr(bytes, '\n', (size_t)n))
			break;
		if (n == before)
			g_usleep(1000);
	}
	return n;
}

enum ps_trace_form ps_trace_form_of(const char *path, GError **error)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	enum ps_trace_form form = PS_FORM_UNKNOWN;
	char bytes[SNIFF_BYTES];
	ssize_t n = fd < 0 ? -1 : look(fd, bytes);

	if (n < 0)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot %s: %s", path,
			    fd < 0 ? "open" : "read", g_strerror(errno));
	else
		form = !n && isatty(fd) ? PS_FORM_SCRIPT : ps_trace_sniff(bytes, (size_t)n);
	if (fd > STDIN_FILENO)
		close(fd);
	return form;
}

/* ---- readers ---- */

static bool open_kind(struct ps_trace_reader *r, GError **error)
{
	const u8 *bytes;
	ssize_t n = input_peek(&r->in, 4096, &bytes, error);
	enum ps_trace_form form;

	if (n < 0)
		return false;
	form = ps_trace_sniff(bytes, n);
	switch (form) {
	case PS_FORM_PGT:
		return pgt_open(r, error);
	case PS_FORM_BULK:
		return bulk_open(r, error);
	case PS_FORM_SCRIPT:
		return script_open(r, error);
	case PS_FORM_LACKEY:
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_UNKNOWN,
			    "%s: expected a trace, found %s: 'pagesim convert' makes a trace of it", r->name,
			    ps_trace_form_word(form));
		return false;
	case PS_FORM_EMPTY:
	case PS_FORM_UNKNOWN:
		break;
	}
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_UNKNOWN, "%s: expected a trace, found an %s", r->name,
		    ps_trace_form_word(form));
	return false;
}

struct ps_trace_reader *ps_trace_reader_new(int fd, const char *name, GError **error)
{
	struct ps_trace_reader *r = ps_zalloc(sizeof(*r));

	if (!r) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", name);
		return NULL;
	}
	r->owned_fd = -1;
	r->name = ps_strdup(name);
	if (!r->name) {
		ps_free(r);
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", name);
		return NULL;
	}
	r->in.fd = fd;
	r->in.name = r->name;
	reader_set_info(r);
	if (!open_kind(r, error)) {
		ps_trace_reader_free(r);
		return NULL;
	}
	return r;
}

struct ps_trace_reader *ps_trace_reader_open(const char *path, GError **error)
{
	struct ps_trace_reader *r;
	struct stat st;
	int fd;

	if (!strcmp(path, "-"))
		return ps_trace_reader_new(STDIN_FILENO, "standard input", error);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot open: %s", path, g_strerror(errno));
		return NULL;
	}
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: expected a trace, found a directory", path);
		close(fd);
		return NULL;
	}
	r = ps_trace_reader_new(fd, path, error);
	if (!r)
		close(fd);
	else
		r->owned_fd = fd;
	return r;
}

void ps_trace_reader_free(struct ps_trace_reader *r)
{
	if (!r)
		return;
	if (r->ops)
		r->ops->free(r);
	if (r->owned_fd >= 0)
		close(r->owned_fd);
	reader_forget_totals(r);
	ps_grow_free(&r->totals);
	ps_grow_free(&r->frames);
	g_clear_error(&r->error);
	ps_free(r->name);
	ps_free(r->source);
	ps_free(r->command);
	ps_free(r->created_by);
	ps_free(r->note);
	ps_free(r);
}

void reader_set_info(struct ps_trace_reader *r)
{
	r->info.source = r->source ? r->source : "";
	r->info.command = r->command ? r->command : "";
	r->info.created_by = r->created_by ? r->created_by : "";
	r->info.note = r->note ? r->note : "";
}

void reader_add_total(struct ps_trace_reader *r, const char *name, size_t length, u64 value)
{
	char *copy = reader_string(r, name, length);
	struct ps_trace_total total = { .name = copy, .value = value };

	if (!copy || !ps_grow_add(&r->totals, &total, sizeof(total))) {
		ps_free(copy);
		r->no_memory = true;
	}
}

void reader_forget_totals(struct ps_trace_reader *r)
{
	struct ps_trace_total *totals = r->totals.data;

	while (r->totals.n)
		ps_free((char *)totals[--r->totals.n].name);
	r->totals_known = false;
}

char *reader_string(struct ps_trace_reader *r, const char *text, size_t length)
{
	char *copy = ps_alloc(length + 1);

	if (!copy) {
		r->no_memory = true;
		return NULL;
	}
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

bool reader_no_memory(struct ps_trace_reader *r, GError **error)
{
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", r->name);
	return false;
}

const struct ps_trace_info *ps_trace_reader_info(const struct ps_trace_reader *r)
{
	return &r->info;
}

const char *ps_trace_reader_name(const struct ps_trace_reader *r)
{
	return r->name;
}

enum ps_trace_next ps_trace_reader_next(struct ps_trace_reader *r, struct ps_trace_batch *batch, GError **error)
{
	enum ps_trace_next next;

	if (r->error) {
		if (error)
			*error = g_error_copy(r->error);
		return PS_TRACE_FAILED;
	}
	if (r->ended)
		return PS_TRACE_END;
	next = r->ops->next(r, batch, &r->error);
	if (next == PS_TRACE_FAILED && error)
		*error = g_error_copy(r->error);
	r->ended = next == PS_TRACE_END;
	return next;
}

const struct ps_trace_total *ps_trace_reader_totals(const struct ps_trace_reader *r, size_t *n)
{
	*n = r->totals_known ? r->totals.n : 0;
	return *n ? r->totals.data : NULL;
}

u64 ps_trace_reader_total(const struct ps_trace_reader *r, const char *name, u64 otherwise)
{
	size_t n;
	const struct ps_trace_total *totals = ps_trace_reader_totals(r, &n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(totals[i].name, name))
			return totals[i].value;
	return otherwise;
}

bool ps_trace_reader_load_index(struct ps_trace_reader *r, GError **error)
{
	if (!r->ops->load_index) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_ARGUMENT, "%s: only binary traces have an index",
			    r->name);
		return false;
	}
	return r->ops->load_index(r, error);
}

const struct ps_trace_frame *ps_trace_reader_frames(const struct ps_trace_reader *r, size_t *n)
{
	*n = r->frames.n;
	return *n ? r->frames.data : NULL;
}

bool ps_trace_reader_seek(struct ps_trace_reader *r, size_t index, GError **error)
{
	if (!r->ops->seek) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_ARGUMENT, "%s: only binary traces have frames",
			    r->name);
		return false;
	}
	if (!r->ops->seek(r, index, error))
		return false;
	g_clear_error(&r->error);
	r->ended = false;
	return true;
}

u64 ps_trace_reader_position(const struct ps_trace_reader *r, u64 *size)
{
	struct stat st;

	if (size)
		*size = !fstat(r->in.fd, &st) && S_ISREG(st.st_mode) ? (u64)st.st_size : 0;
	return r->in.offset;
}

bool ps_trace_copy(struct ps_trace_reader *r, struct ps_trace_writer *w, GError **error)
{
	static const char *const own[] = { "accesses", "reads",  "writes", "fetches",
					   "records",  "events", "tasks",  "time" };
	const struct ps_trace_total *totals;
	struct ps_trace_batch b;
	enum ps_trace_next next;
	size_t n;

	while ((next = ps_trace_reader_next(r, &b, error)) == PS_TRACE_BATCH) {
		if (b.event) {
			ps_trace_writer_event(w, b.event);
		} else {
			for (u32 i = 0; i < b.n; i++)
				ps_trace_writer_record(w, b.task, b.vpn[i], b.meta[i], b.time);
			ps_trace_writer_cut(w, b.time + b.span);
		}
		if (!ps_trace_writer_ok(w, error))
			return false;
	}
	totals = ps_trace_reader_totals(r, &n);
	for (size_t i = 0; i < n; i++) {
		bool counted = false;

		for (size_t k = 0; k < G_N_ELEMENTS(own); k++)
			counted |= !strcmp(totals[i].name, own[k]);
		if (!counted)
			ps_trace_writer_total(w, totals[i].name, totals[i].value);
	}
	return next == PS_TRACE_END;
}
