/* SPDX-License-Identifier: MIT */
/*
 * The importer proper: text in pieces, cut into lines; memory lines at full speed, everything else on the side. The clock is the
 * number of instruction lines read so far.
 *
 * Who runs. A memory line does not say which process or thread it is from; what is around it does:
 *
 *    a stream of one process (a file of --log-file=%p, a socket that names its sender)   the process is the stream's
 *    ==PID== Command: ...           a program begins here, in this process: first the process, later exec
 *    SYSCALL[pid,tid]               this thread ran just now, and runs on
 *    --PID--   SCHED[tid]: acquired lock   this thread runs from here (--trace-sched=yes)
 *    "created child N"              a new process, of which we hear in a stream of its own, or in this one
 *    --> ... Success(0x0) alone     the child's half of a fork, when both write into this text
 *
 * A header that is followed by the result of a system call is of a forked process that opened its own file, not of a new
 * program. So what a header means is decided at the next line.
 *
 * Mixed text. When several processes write into one text, valgrind's lines can be torn: a line of one in the middle of another's
 * system call. Only after a fork in a text of unknown owner such lines are forgiven; a memory record at their end still counts.
 *
 * Several files are merged as if every process had a processor of its own: always the one whose instruction count, counted
 * from where its parent forked it, is lowest goes on; who waits for a child goes on when the child's file is read.
 */
#define _GNU_SOURCE
#include "trace/lackey.h"
#include "trace/lackey_line.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
/* Merging goes back and forth between files after this much text. */
#define MERGE_BYTES (32u << 10)
/* No line is longer: a path and a few numbers. */
#define LINE_BYTES_MAX (1u << 16)

/* ---- processes ---- */

struct process *lackey_process(struct ps_lackey *lackey, u32 pid)
{
	return g_hash_table_lookup(lackey->processes, GUINT_TO_POINTER(pid));
}

static void enter_process(struct ps_lackey *lackey, struct process *p)
{
	struct process *old = lackey_process(lackey, p->pid);

	/* Streams may still point to a process whose number is used again. */
	if (old) {
		process_exit(old);
		g_hash_table_steal(lackey->processes, GUINT_TO_POINTER(p->pid));
		g_ptr_array_add(lackey->graveyard, old);
	}
	g_hash_table_insert(lackey->processes, GUINT_TO_POINTER(p->pid), p);
}

static struct process *start_process(struct ps_lackey *lackey, u32 pid, u32 parent, const char *command)
{
	struct process *p = process_new(lackey, pid);
	struct process *mother = parent ? lackey_process(lackey, parent) : NULL;
	struct ps_event e = {
		.kind = PS_EVENT_START,
		.task = p->task,
		.other = mother ? mother->task : PS_TASK_NONE,
		.pid = pid,
		.tid = 1,
		.time = lackey_time(lackey),
		.name = command,
	};

	enter_process(lackey, p);
	if (!*lackey->command) {
		g_free(lackey->command);
		lackey->command = g_strdup(command);
		ps_trace_writer_set_command(lackey->writer, command);
	}
	ps_trace_writer_event(lackey->writer, &e);
	return p;
}

/* From here on the stream's memory lines are of thread @thread of @p. */
static void run(struct ps_lackey_stream *s, struct process *p, u32 thread)
{
	p->running = thread;
	p->last_run = s->lackey->counts.lines;
	s->process = p;
	s->task = process_thread(p, thread)->task;
}

/* The process a line names, begun if this is the first we hear of it. */
static struct process *named_process(struct ps_lackey_stream *s, u32 pid)
{
	struct process *p = lackey_process(s->lackey, pid);
	struct process *parent = s->awaited && !s->awaited->exited ? s->awaited : s->process;

	if (p && !p->exited)
		return p;
	/* In mixed text a child may be heard of before the line that announces it. */
	if (s->forked && parent && !parent->exited) {
		lackey_forked(s, parent, parent->running, pid);
		return lackey_process(s->lackey, pid);
	}
	return start_process(s->lackey, pid, 0, "");
}

/* A line that shows what the last header was: of a program, unless @forked. */
static void settle_header(struct ps_lackey_stream *s, bool forked)
{
	struct ps_lackey *lackey = s->lackey;
	struct process *p = lackey_process(lackey, s->header_pid);
	const char *command = s->header_command ? s->header_command : "";

	s->header = false;
	if (!p || p->exited)
		p = start_process(lackey, s->header_pid, s->header_parent, command);
	else if (!forked)
		process_exec(p, command);
	run(s, p, p->running);
}

static void settle(struct ps_lackey_stream *s)
{
	if (unlikely(s->header))
		settle_header(s, false);
}

/* Of the processes that live, the one we heard of last; NULL when none does. */
static struct process *last_alive(struct ps_lackey *lackey)
{
	struct process *best = NULL;
	GHashTableIter i;
	gpointer value;

	g_hash_table_iter_init(&i, lackey->processes);
	while (g_hash_table_iter_next(&i, NULL, &value)) {
		struct process *p = value;

		/* The task decides between equals: the order of a hash table is none. */
		if (!p->exited &&
		    (!best || p->last_run > best->last_run || (p->last_run == best->last_run && p->task > best->task)))
			best = p;
	}
	return best;
}

/* Memory lines without any idea whose they are. */
static void settle_unknown(struct ps_lackey_stream *s)
{
	struct process *p = NULL;

	settle(s);
	if (s->process && !s->process->exited)
		return;
	if (!s->pid && s->process)
		p = last_alive(s->lackey);
	if (!p)
		p = named_process(s, s->pid ? s->pid : s->process ? s->process->pid : 0);
	run(s, p, p->running);
}

static struct ps_lackey_stream *stream_of(struct ps_lackey *lackey, u32 pid)
{
	for (guint i = lackey->streams->len; i--;) {
		struct ps_lackey_stream *s = g_ptr_array_index(lackey->streams, i);

		if (s->pid == pid && !s->ended)
			return s;
	}
	return NULL;
}

void lackey_forked(struct ps_lackey_stream *stream, struct process *parent, u32 thread, u32 pid)
{
	struct ps_lackey *lackey = stream->lackey;
	struct ps_lackey_stream *child = stream_of(lackey, pid);
	struct process *p = lackey_process(lackey, pid);

	if (p && !p->exited)
		return;
	p = process_fork(parent, thread, pid);
	enter_process(lackey, p);
	stream->child = pid;
	if (!stream->pid)
		stream->forked = true;
	if (child && child->merged && !child->active) {
		child->active = true;
		child->clock_start = ps_lackey_stream_clock(stream) - child->instructions;
	}
}

void lackey_reaped(struct ps_lackey_stream *stream, u32 pid)
{
	struct ps_lackey_stream *child = stream_of(stream->lackey, pid);
	struct process *p = lackey_process(stream->lackey, pid);

	if (stream->merged && child && child != stream && child->active)
		stream->waits_for = child;
	else if (p && !p->exited && p != stream->process && !(child && child->rest->len))
		process_exit(p);
}

void lackey_count_syscall(struct ps_lackey *lackey, const char *name)
{
	u64 *n = g_hash_table_lookup(lackey->syscalls, name);

	lackey->counts.syscalls++;
	if (!n) {
		n = g_new0(u64, 1);
		g_hash_table_insert(lackey->syscalls, g_strdup(name), n);
	}
	++*n;
}

/* ---- memory lines ---- */

static void touch(struct ps_lackey_stream *s, u64 vpn, enum ps_access_kind kind)
{
	struct process *p = s->process;

	if (unlikely(!known_has(&p->known, vpn)))
		process_infer(p, vpn, kind == PS_ACCESS_FETCH);
	ps_trace_writer_access(s->lackey->writer, s->task, vpn, kind, lackey_time(s->lackey));
}

static void memory_line(struct ps_lackey_stream *s, enum ps_access_kind kind, u64 address, u32 size)
{
	struct ps_lackey_counts *c = &s->lackey->counts;
	u64 first = address >> PS_TRACE_PAGE_SHIFT;
	u64 last = (address + size - 1) >> PS_TRACE_PAGE_SHIFT;
	bool crosses = first != last;

	switch (kind) {
	case PS_ACCESS_FETCH:
		c->fetches++;
		c->fetch_crossings += crosses;
		s->instructions++;
		if (!s->lackey->settings.fetches)
			return;
		break;
	case PS_ACCESS_READ:
		c->loads++;
		c->load_crossings += crosses;
		break;
	case PS_ACCESS_WRITE:
		c->stores++;
		c->store_crossings += crosses;
		break;
	case PS_ACCESS_MODIFY:
		c->modifies++;
		c->modify_crossings += crosses;
		break;
	}
	touch(s, first, kind);
	while (unlikely(first != last))
		touch(s, ++first, kind);
}

/* ---- other lines ---- */

/* "   SCHED[3]:  acquired lock (...)" */
static void sched_line(struct ps_lackey_stream *s, u32 pid, const char *text)
{
	u64 thread;
	char *end;

	text += strspn(text, " ");
	if (strncmp(text, "SCHED[", 6))
		return;
	settle(s);
	thread = strtoull(text + 6, &end, 10);
	if (strncmp(end, "]:  acquired lock", 17) || !thread || thread > 1u << 20)
		return;
	/* The last words of a process that has exited are not its first. */
	if (lackey_process(s->lackey, pid) && lackey_process(s->lackey, pid)->exited)
		return;
	run(s, named_process(s, pid), (u32)thread);
}

/* Valgrind's own words to the user: only what a header says matters, and how a process ends. */
static void message_line(struct ps_lackey_stream *s, u32 pid, const char *text)
{
	struct process *p = lackey_process(s->lackey, pid);

	if (!strncmp(text, "Command: ", 9)) {
		settle(s);
		s->header = true;
		s->header_pid = pid;
		s->header_parent = 0;
		g_free(s->header_command);
		s->header_command = g_utf8_make_valid(text + 9, -1);
	} else if (!strncmp(text, "Parent PID: ", 12) && s->header && pid == s->header_pid) {
		s->header_parent = (u32)strtoul(text + 12, NULL, 10);
	} else if (!strncmp(text, "Process terminating", 19) && p) {
		process_exit(p);
	}
}

/* "SYSCALL[pid,tid](nr)...", from behind the first bracket. Return: false when it is not that. */
static bool syscall_line(struct ps_lackey_stream *s, const char *text)
{
	u64 pid, thread;
	struct process *p;
	char *end;

	pid = strtoull(text, &end, 10);
	if (end == text || *end != ',' || !pid || pid >= 1u << 31)
		return false;
	text = end + 1;
	thread = strtoull(text, &end, 10);
	if (end == text || strncmp(end, "](", 2) || !thread || thread > 1u << 20)
		return false;
	text = strchr(end, ')');
	if (!text)
		return false;
	settle(s);
	p = named_process(s, (u32)pid);
	run(s, p, (u32)thread);
	lackey_syscall(s, p, (u32)thread, text + 1);
	/* After an exit the next line finds out whose it is. */
	if (p->exited)
		return true;
	if (!g_hash_table_contains(p->threads, GUINT_TO_POINTER((u32)thread))) {
		GHashTableIter i;
		gpointer number;
		u32 lowest = G_MAXUINT32;

		g_hash_table_iter_init(&i, p->threads);
		while (g_hash_table_iter_next(&i, &number, NULL))
			lowest = MIN(lowest, GPOINTER_TO_UINT(number));
		run(s, p, lowest);
	}
	return true;
}

/* " --> [pre-success] Success(0x32d)", the end of a line that valgrind had broken. */
static void result_line(struct ps_lackey_stream *s, const char *text)
{
	bool child = strstr(text, "Success(0x0)") && s->child && s->forked;

	if (s->header)
		settle_header(s, true);
	if (child) {
		struct process *p = lackey_process(s->lackey, s->child);

		s->child = 0;
		if (p && !p->exited) {
			run(s, p, p->running);
			return;
		}
	}
	if (s->awaited && !s->awaited->exited) {
		run(s, s->awaited, s->awaited_thread);
		lackey_result(s, s->awaited, s->awaited_thread, text);
		if (s->process->exited)
			s->awaited = NULL;
	}
}

/* A memory record at the end of a torn line. */
static void salvage(struct ps_lackey_stream *s, const char *line)
{
	static const char *const marks[] = { "I  ", " L ", " S ", " M " };
	const char *best = NULL;
	enum ps_access_kind kind;
	char *record;
	u64 address;
	u32 size;

	for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
		const char *at = g_strrstr(line, marks[i]);

		if (at && (!best || at > best))
			best = at;
	}
	if (!best)
		return;
	record = g_strconcat(best, "\n", NULL);
	if (lackey_memory_line(record, &kind, &address, &size)) {
		settle_unknown(s);
		memory_line(s, kind, address, size);
	}
	g_free(record);
}

/* A line that is no memory line, its newline replaced by a zero. Return: false when it is nothing lackey prints. */
static bool other_line(struct ps_lackey_stream *s, const char *line)
{
	const char *text;
	u32 pid, child;

	if (!strncmp(line, "SYSCALL[", 8) && syscall_line(s, line + 8))
		return true;
	s->lackey->counts.other_lines++;
	text = lackey_prefix(line, '=', &pid);
	if (text) {
		message_line(s, pid, text);
		return true;
	}
	text = lackey_prefix(line, '-', &pid);
	if (text) {
		sched_line(s, pid, text);
		return true;
	}
	if (!strncmp(line, " --> [", 6) || !strncmp(line, "[sync] -->", 10)) {
		result_line(s, line);
		return true;
	}
	/* The scheduler's trace has lines without a name in front. */
	if (!*line || !strncmp(line, "SCHED", 5))
		return true;
	if (!s->forked)
		return false;
	if (lackey_find_child(line, &pid, &child)) {
		struct process *parent = named_process(s, pid);

		lackey_forked(s, parent, parent->running, child);
	}
	salvage(s, line);
	return true;
}

static bool fail_line(struct ps_lackey_stream *s, const char *line, size_t n, GError **error)
{
	char *found = g_utf8_make_valid(line, (gssize)MIN(n, 60));

	for (char *c = found; *c; c++)
		if ((u8)*c < ' ')
			*c = '?';
	s->failed = true;
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX,
		    "%s:%u: expected a line of lackey ('I  ADDRESS,SIZE', ' L ADDRESS,SIZE', ' S ...', ' M ...', "
		    "'SYSCALL[...' or "
		    "'==PID== ...'), found '%s'",
		    s->name, s->line, found);
	g_free(found);
	return false;
}

/*
 * Reads whole lines, @text to the last newline before @end (there must be one, and a readable byte behind it).
 * Return: how far it came: to the end, to a line after which the stream waits for another, or NULL with @error set.
 */
static const char *read_lines(struct ps_lackey_stream *s, char *text, const char *end, GError **error)
{
	struct ps_lackey_counts *c = &s->lackey->counts;

	while (text < end) {
		enum ps_access_kind kind;
		const char *next;
		u64 address;
		u32 size;
		char *newline;

		s->line++;
		next = lackey_memory_line(text, &kind, &address, &size);
		if (likely(next)) {
			c->lines++;
			if (unlikely(s->header || !s->process || s->process->exited))
				settle_unknown(s);
			memory_line(s, kind, address, size);
			text = (char *)next;
			continue;
		}
		newline = memchr(text, '\n', (size_t)(end - text));
		*newline = 0;
		if (strlen(text) != (size_t)(newline - text) || !other_line(s, text)) {
			fail_line(s, text, (size_t)(newline - text), error);
			return NULL;
		}
		c->lines++;
		text = newline + 1;
		if (unlikely(s->waits_for))
			break;
	}
	return text;
}

/* Takes what is in s->rest as far as it makes lines. */
static bool read_rest(struct ps_lackey_stream *s, GError **error)
{
	char *last = memrchr(s->rest->str, '\n', s->rest->len);
	const char *to;

	if (last) {
		to = read_lines(s, s->rest->str, last + 1, error);
		if (!to)
			return false;
		g_string_erase(s->rest, 0, to - s->rest->str);
	}
	if (s->rest->len > LINE_BYTES_MAX && !s->waits_for && !memchr(s->rest->str, '\n', s->rest->len)) {
		s->line++;
		return fail_line(s, s->rest->str, s->rest->len, error);
	}
	return ps_trace_writer_ok(s->lackey->writer, error);
}

bool ps_lackey_feed(struct ps_lackey_stream *s, const char *bytes, size_t n, GError **error)
{
	struct process *p;

	if (s->failed) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX, "%s:%u: the text went wrong before", s->name,
			    s->line);
		return false;
	}
	g_string_append_len(s->rest, bytes, (gssize)n);
	/* A process of which we know only that it writes waits until the fork that made it is read, or it introduces itself. */
	p = s->pid ? lackey_process(s->lackey, s->pid) : NULL;
	if (s->pid && !p && !s->merged && s->line == 0 && strncmp(s->rest->str, "==", 2) && s->lackey->streams->len > 1)
		return true;
	if (!read_rest(s, error))
		return false;
	for (guint i = 0; i < s->lackey->streams->len; i++) {
		struct ps_lackey_stream *other = g_ptr_array_index(s->lackey->streams, i);

		if (other != s && other->pid && !other->line && other->rest->len && !other->merged &&
		    lackey_process(s->lackey, other->pid) && !read_rest(other, error))
			return false;
	}
	return true;
}

bool ps_lackey_stream_end(struct ps_lackey_stream *s, GError **error)
{
	if (s->ended)
		return true;
	s->ended = true;
	if (s->failed)
		return true;
	if (!read_rest(s, error))
		return false;
	if (s->rest->len) {
		char *found = g_utf8_make_valid(s->rest->str, (gssize)MIN(s->rest->len, 60));

		s->failed = true;
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_TRUNCATED,
			    "%s:%u: expected the rest of the line '%s', found the end of the text", s->name,
			    s->line + 1, found);
		g_free(found);
		return false;
	}
	return true;
}

u64 ps_lackey_stream_clock(const struct ps_lackey_stream *s)
{
	return s->clock_start + s->instructions;
}

/* ---- life ---- */

static void free_stream(gpointer data)
{
	struct ps_lackey_stream *s = data;

	g_string_free(s->rest, true);
	g_free(s->header_command);
	g_free(s->name);
	g_free(s);
}

struct ps_lackey *ps_lackey_new(struct ps_trace_writer *writer, const struct ps_lackey_settings *settings)
{
	struct ps_lackey *lackey = g_new0(struct ps_lackey, 1);

	lackey->writer = writer;
	if (settings)
		lackey->settings = *settings;
	lackey->command = g_strdup(lackey->settings.command ? lackey->settings.command : "");
	lackey->settings.command = NULL;
	if (*lackey->command)
		ps_trace_writer_set_command(writer, lackey->command);
	lackey->processes = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)process_free);
	lackey->graveyard = g_ptr_array_new_with_free_func((GDestroyNotify)process_free);
	lackey->streams = g_ptr_array_new_with_free_func(free_stream);
	lackey->syscalls = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return lackey;
}

struct ps_lackey_stream *ps_lackey_stream_new(struct ps_lackey *lackey, const char *name, u32 pid)
{
	struct ps_lackey_stream *s = g_new0(struct ps_lackey_stream, 1);

	s->lackey = lackey;
	s->name = g_strdup(name);
	s->pid = pid;
	s->rest = g_string_sized_new(READ_BYTES);
	s->fd = -1;
	g_ptr_array_add(lackey->streams, s);
	return s;
}

void ps_lackey_finish(struct ps_lackey *lackey)
{
	const struct ps_lackey_counts *c = &lackey->counts;
	struct ps_trace_writer *w = lackey->writer;
	GList *names = g_list_sort(g_hash_table_get_keys(lackey->syscalls), (GCompareFunc)strcmp);

	ps_trace_writer_total(w, "lackey.lines", c->lines);
	ps_trace_writer_total(w, "lackey.instructions", c->fetches);
	ps_trace_writer_total(w, "lackey.loads", c->loads);
	ps_trace_writer_total(w, "lackey.stores", c->stores);
	ps_trace_writer_total(w, "lackey.modifies", c->modifies);
	ps_trace_writer_total(w, "lackey.crossing-instructions", c->fetch_crossings);
	ps_trace_writer_total(w, "lackey.crossing-loads", c->load_crossings);
	ps_trace_writer_total(w, "lackey.crossing-stores", c->store_crossings);
	ps_trace_writer_total(w, "lackey.crossing-modifies", c->modify_crossings);
	ps_trace_writer_total(w, "syscalls", c->syscalls);
	for (GList *n = names; n; n = n->next) {
		char *total = g_strconcat("syscall.", n->data, NULL);

		ps_trace_writer_total(w, total, *(u64 *)g_hash_table_lookup(lackey->syscalls, n->data));
		g_free(total);
	}
	g_list_free(names);
}

const struct ps_lackey_counts *ps_lackey_counts(const struct ps_lackey *lackey)
{
	return &lackey->counts;
}

const char *ps_lackey_command(const struct ps_lackey *lackey)
{
	return lackey->command;
}

void ps_lackey_free(struct ps_lackey *lackey)
{
	if (!lackey)
		return;
	g_ptr_array_free(lackey->streams, true);
	g_hash_table_destroy(lackey->processes);
	g_ptr_array_free(lackey->graveyard, true);
	g_hash_table_destroy(lackey->syscalls);
	g_free(lackey->command);
	g_free(lackey);
}

/* ---- whole files ---- */

/* Reads more text of a file into the stream. Return: bytes, 0 at the end, -1 with @error set. */
static ssize_t read_more(struct ps_lackey_stream *s, size_t n, GError **error)
{
	gsize before = s->rest->len;
	ssize_t k;

	g_string_set_size(s->rest, before + n);
	do {
		k = read(s->fd, s->rest->str + before, n);
	} while (k < 0 && errno == EINTR);
	if (k < 0)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot read: %s", s->name,
			    g_strerror(errno));
	g_string_set_size(s->rest, before + (size_t)MAX(k, 0));
	return k;
}

/* One step of one stream: lines it had to leave while it waited, some more text, or its end. */
static bool step(struct ps_lackey_stream *s, size_t bytes, GError **error)
{
	ssize_t n = 1;

	if (!memchr(s->rest->str, '\n', s->rest->len))
		n = read_more(s, bytes, error);
	if (n < 0)
		return false;
	return n ? read_rest(s, error) : ps_lackey_stream_end(s, error);
}

/* The stream to go on with; files nobody forked come when nothing else is left. NULL: all have ended. */
static struct ps_lackey_stream *choose(struct ps_lackey *lackey)
{
	struct ps_lackey_stream *best = NULL, *idle = NULL, *waiting = NULL;

	for (guint i = 0; i < lackey->streams->len; i++) {
		struct ps_lackey_stream *s = g_ptr_array_index(lackey->streams, i);

		if (s->waits_for && s->waits_for->ended) {
			s->clock_start += MAX(ps_lackey_stream_clock(s), ps_lackey_stream_clock(s->waits_for)) -
					  ps_lackey_stream_clock(s);
			s->waits_for = NULL;
		}
		if (s->ended || !s->merged)
			continue;
		if (!s->active)
			idle = idle ? idle : s;
		else if (s->waits_for)
			waiting = s;
		else if (!best || ps_lackey_stream_clock(s) < ps_lackey_stream_clock(best))
			best = s;
	}
	if (best)
		return best;
	/* Two that wait for each other cannot be, but a text can say so. */
	if (waiting) {
		waiting->waits_for = NULL;
		return waiting;
	}
	if (idle)
		idle->active = true;
	return idle;
}

/* Finds the process a file is from in its first lines, and whether its parent's file is among ours. */
static bool introduce(struct ps_lackey_stream *s, u32 *parent, GError **error)
{
	const char *line;
	ssize_t n = read_more(s, 4096, error);

	*parent = 0;
	if (n < 0)
		return false;
	lackey_prefix(s->rest->str, '=', &s->pid);
	line = strstr(s->rest->str, "== Parent PID: ");
	if (line)
		*parent = (u32)strtoul(line + strlen("== Parent PID: "), NULL, 10);
	return true;
}

static bool import_merged(struct ps_lackey *lackey, size_t n, GError **error)
{
	struct ps_lackey_stream **streams =
		(struct ps_lackey_stream **)lackey->streams->pdata + lackey->streams->len - n;
	u32 *parents = g_new0(u32, n);
	struct ps_lackey_stream *s;
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++) {
		streams[i]->merged = true;
		ok = introduce(streams[i], &parents[i], error);
	}
	for (size_t i = 0; i < n && ok; i++) {
		streams[i]->active = true;
		for (size_t k = 0; k < n; k++)
			if (k != i && parents[i] && streams[k]->pid == parents[i])
				streams[i]->active = false;
	}
	g_free(parents);
	while (ok && (s = choose(lackey)))
		ok = step(s, MERGE_BYTES, error);
	return ok;
}

bool ps_lackey_import(struct ps_lackey *lackey, char *const *paths, size_t n, GError **error)
{
	guint first = lackey->streams->len;
	struct ps_lackey_stream *s = NULL;
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++) {
		bool standard_input = !strcmp(paths[i], "-");

		s = ps_lackey_stream_new(lackey, standard_input ? "standard input" : paths[i], 0);
		s->fd = standard_input ? STDIN_FILENO : open(paths[i], O_RDONLY | O_CLOEXEC);
		if (s->fd < 0) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot open: %s", paths[i],
				    g_strerror(errno));
			ok = false;
		}
	}
	if (ok && n == 1) {
		while (ok && !s->ended)
			ok = step(s, READ_BYTES, error);
	} else if (ok) {
		ok = import_merged(lackey, n, error);
	}
	for (guint i = first; i < lackey->streams->len; i++) {
		s = g_ptr_array_index(lackey->streams, i);
		s->ended = true;
		if (s->fd > STDIN_FILENO)
			close(s->fd);
		s->fd = -1;
	}
	return ok;
}
