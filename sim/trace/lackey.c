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

static struct process **processes_of(const struct ps_lackey *lackey)
{
	return lackey->processes.data;
}

/* Index of the first process whose number is @pid or higher. */
static size_t process_index(const struct ps_lackey *lackey, u32 pid)
{
	size_t low = 0, high = lackey->processes.n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (processes_of(lackey)[middle]->pid >= pid)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

struct process *lackey_process(struct ps_lackey *lackey, u32 pid)
{
	size_t i = process_index(lackey, pid);

	return i < lackey->processes.n && processes_of(lackey)[i]->pid == pid ? processes_of(lackey)[i] : NULL;
}

static void enter_process(struct ps_lackey *lackey, struct process *p)
{
	size_t i = process_index(lackey, p->pid);
	struct process *old = lackey_process(lackey, p->pid);

	if (p == lackey->spare)
		return;
	/* process_new() made room. Streams may still point to a process whose number is used again. */
	ps_grow_add(&lackey->all, &p, sizeof(p));
	if (old) {
		process_exit(old);
		processes_of(lackey)[i] = p;
	} else {
		ps_grow_insert(&lackey->processes, i, &p, sizeof(p));
	}
}

void lackey_watch(struct ps_lackey *lackey, const char *directory,
		  char *(*maps)(void *arg, u32 pid, const char *command), void *arg)
{
	ps_free(lackey->directory);
	lackey->directory = lackey_text(lackey, directory, strlen(directory));
	lackey->maps = maps;
	lackey->maps_arg = arg;
}

char *lackey_text(struct ps_lackey *lackey, const char *text, size_t n)
{
	char *copy = ps_alloc(n + 1);

	if (!copy) {
		lackey->no_memory = true;
		return NULL;
	}
	memcpy(copy, text, n);
	copy[n] = 0;
	return copy;
}

/* A program has just begun in @p: what is there before its first access. */
static void ask_image(struct ps_lackey *lackey, struct process *p, const char *command)
{
	char *maps = lackey->maps ? lackey->maps(lackey->maps_arg, p->pid, command) : NULL;

	process_set_image(p, maps);
	ps_free(maps);
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
	if (!mother && lackey->directory)
		p->directory = lackey_text(lackey, lackey->directory, strlen(lackey->directory));
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
	if (!forked)
		ask_image(lackey, p, command);
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

	for (size_t i = 0; i < lackey->processes.n; i++) {
		struct process *p = processes_of(lackey)[i];

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

static struct ps_lackey_stream **streams_of(const struct ps_lackey *lackey)
{
	return lackey->streams.data;
}

static struct ps_lackey_stream *stream_of(struct ps_lackey *lackey, u32 pid)
{
	for (size_t i = lackey->streams.n; i--;) {
		struct ps_lackey_stream *s = streams_of(lackey)[i];

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
	else if (p && !p->exited && p != stream->process && !(child && child->rest.n))
		process_exit(p);
}

void lackey_count_syscall(struct ps_lackey *lackey, const char *name)
{
	struct syscall_count *counts = lackey->syscalls.data, new = { .n = 1 };
	size_t low = 0, high = lackey->syscalls.n;

	lackey->counts.syscalls++;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(counts[middle].name, name);

		if (!order) {
			counts[middle].n++;
			return;
		}
		if (order > 0)
			high = middle;
		else
			low = middle + 1;
	}
	new.name = lackey_text(lackey, name, strlen(name));
	if (new.name && !ps_grow_insert(&lackey->syscalls, low, &new, sizeof(new))) {
		ps_free(new.name);
		lackey->no_memory = true;
	}
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
	if (!process_has_thread(p, (u32)thread))
		run(s, p, p->threads.n ? (*(struct thread **)p->threads.data)->number : (u32)thread);
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

/* What was forgotten cannot be followed: the text is not read on. */
static bool fail_memory(struct ps_lackey_stream *s, GError **error)
{
	s->failed = true;
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s:%u: out of memory", s->name, s->line);
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
			if (unlikely(s->lackey->no_memory))
				break;
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
		if (unlikely(s->waits_for || s->lackey->no_memory))
			break;
	}
	if (s->lackey->no_memory) {
		fail_memory(s, error);
		return NULL;
	}
	return text;
}

/* Room behind the rest for @n more bytes and a zero. Return: where they go, or NULL without memory. */
static char *rest_room(struct ps_lackey_stream *s, size_t n)
{
	if (!ps_grow_reserve(&s->rest, n + 1, 1))
		return NULL;
	return (char *)s->rest.data + s->rest.n;
}

static void rest_grown(struct ps_lackey_stream *s, size_t n)
{
	s->rest.n += n;
	((char *)s->rest.data)[s->rest.n] = 0;
}

static bool has_line(const struct ps_lackey_stream *s)
{
	return s->rest.n && memchr(s->rest.data, '\n', s->rest.n);
}

/* Takes what is in s->rest as far as it makes lines. */
static bool read_rest(struct ps_lackey_stream *s, GError **error)
{
	char *text = s->rest.data, *last = s->rest.n ? memrchr(text, '\n', s->rest.n) : NULL;
	const char *to;

	if (last) {
		to = read_lines(s, text, last + 1, error);
		if (!to)
			return false;
		s->rest.n -= (size_t)(to - text);
		memmove(text, to, s->rest.n + 1);
	}
	if (s->rest.n > LINE_BYTES_MAX && !s->waits_for && !has_line(s)) {
		s->line++;
		return fail_line(s, text, s->rest.n, error);
	}
	return ps_trace_writer_ok(s->lackey->writer, error);
}

bool ps_lackey_feed(struct ps_lackey_stream *s, const char *bytes, size_t n, GError **error)
{
	struct process *p;
	char *to;

	if (s->failed) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX, "%s:%u: the text went wrong before", s->name,
			    s->line);
		return false;
	}
	to = rest_room(s, n);
	if (!to)
		return fail_memory(s, error);
	memcpy(to, bytes, n);
	rest_grown(s, n);
	/* A process of which we know only that it writes waits until the fork that made it is read, or it introduces itself. */
	p = s->pid ? lackey_process(s->lackey, s->pid) : NULL;
	if (s->pid && !p && !s->merged && s->line == 0 && strncmp(s->rest.data, "==", 2) && s->lackey->streams.n > 1)
		return true;
	if (!read_rest(s, error))
		return false;
	for (size_t i = 0; i < s->lackey->streams.n; i++) {
		struct ps_lackey_stream *other = streams_of(s->lackey)[i];

		if (other != s && other->pid && !other->line && other->rest.n && !other->merged &&
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
	if (s->rest.n) {
		char *found = g_utf8_make_valid(s->rest.data, (gssize)MIN(s->rest.n, 60));

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

static void free_stream(struct ps_lackey_stream *s)
{
	ps_grow_free(&s->rest);
	g_free(s->header_command);
	ps_free(s->name);
	ps_free(s);
}

struct ps_lackey *ps_lackey_new(struct ps_trace_writer *writer, const struct ps_lackey_settings *settings)
{
	struct ps_lackey *lackey = ps_zalloc(sizeof(*lackey));

	if (!lackey)
		return NULL;
	lackey->spare = process_alloc(lackey);
	if (!lackey->spare) {
		ps_free(lackey);
		return NULL;
	}
	lackey->writer = writer;
	if (settings)
		lackey->settings = *settings;
	lackey->command = g_strdup(lackey->settings.command ? lackey->settings.command : "");
	lackey->settings.command = NULL;
	if (*lackey->command)
		ps_trace_writer_set_command(writer, lackey->command);
	return lackey;
}

struct ps_lackey_stream *ps_lackey_stream_new(struct ps_lackey *lackey, const char *name, u32 pid)
{
	struct ps_lackey_stream *s = ps_zalloc(sizeof(*s));

	if (!s)
		return NULL;
	s->lackey = lackey;
	s->name = ps_strdup(name);
	s->pid = pid;
	s->fd = -1;
	if (!s->name || !rest_room(s, 0) || !ps_grow_add(&lackey->streams, &s, sizeof(s))) {
		free_stream(s);
		return NULL;
	}
	rest_grown(s, 0);
	return s;
}

void ps_lackey_finish(struct ps_lackey *lackey)
{
	const struct ps_lackey_counts *c = &lackey->counts;
	struct ps_trace_writer *w = lackey->writer;
	const struct syscall_count *syscalls = lackey->syscalls.data;
	char total[96];

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
	for (size_t i = 0; i < lackey->syscalls.n; i++) {
		g_snprintf(total, sizeof(total), "syscall.%s", syscalls[i].name);
		ps_trace_writer_total(w, total, syscalls[i].n);
	}
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
	for (size_t i = 0; i < lackey->streams.n; i++)
		free_stream(streams_of(lackey)[i]);
	for (size_t i = 0; i < lackey->all.n; i++)
		process_free(((struct process **)lackey->all.data)[i]);
	for (size_t i = 0; i < lackey->syscalls.n; i++)
		ps_free(((struct syscall_count *)lackey->syscalls.data)[i].name);
	process_free(lackey->spare);
	ps_grow_free(&lackey->streams);
	ps_grow_free(&lackey->all);
	ps_grow_free(&lackey->processes);
	ps_grow_free(&lackey->syscalls);
	ps_grow_free(&lackey->segments);
	ps_free(lackey->directory);
	g_free(lackey->command);
	ps_free(lackey);
}

/* ---- whole files ---- */

/* Reads more text of a file into the stream. Return: bytes, 0 at the end, -1 with @error set. */
static ssize_t read_more(struct ps_lackey_stream *s, size_t n, GError **error)
{
	char *to = rest_room(s, n);
	ssize_t k;

	if (!to) {
		fail_memory(s, error);
		return -1;
	}
	do {
		k = read(s->fd, to, n);
	} while (k < 0 && errno == EINTR);
	if (k < 0)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot read: %s", s->name,
			    g_strerror(errno));
	rest_grown(s, (size_t)MAX(k, 0));
	return k;
}

/* One step of one stream: lines it had to leave while it waited, some more text, or its end. */
static bool step(struct ps_lackey_stream *s, size_t bytes, GError **error)
{
	ssize_t n = 1;

	if (!has_line(s))
		n = read_more(s, bytes, error);
	if (n < 0)
		return false;
	return n ? read_rest(s, error) : ps_lackey_stream_end(s, error);
}

/* The stream to go on with; files nobody forked come when nothing else is left. NULL: all have ended. */
static struct ps_lackey_stream *choose(struct ps_lackey *lackey)
{
	struct ps_lackey_stream *best = NULL, *idle = NULL, *waiting = NULL;

	for (size_t i = 0; i < lackey->streams.n; i++) {
		struct ps_lackey_stream *s = streams_of(lackey)[i];

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
	lackey_prefix(s->rest.data, '=', &s->pid);
	line = strstr(s->rest.data, "== Parent PID: ");
	if (line)
		*parent = (u32)strtoul(line + strlen("== Parent PID: "), NULL, 10);
	return true;
}

static bool import_merged(struct ps_lackey *lackey, size_t n, GError **error)
{
	struct ps_lackey_stream **streams = streams_of(lackey) + lackey->streams.n - n;
	u32 *parents = ps_calloc(n, sizeof(*parents));
	struct ps_lackey_stream *s;
	bool ok = true;

	if (!parents)
		return fail_memory(streams[0], error);
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
	ps_free(parents);
	while (ok && (s = choose(lackey)))
		ok = step(s, MERGE_BYTES, error);
	return ok;
}

bool ps_lackey_import(struct ps_lackey *lackey, char *const *paths, size_t n, GError **error)
{
	size_t first = lackey->streams.n;
	struct ps_lackey_stream *s = NULL;
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++) {
		bool standard_input = !strcmp(paths[i], "-");

		s = ps_lackey_stream_new(lackey, standard_input ? "standard input" : paths[i], 0);
		if (!s) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", paths[i]);
			ok = false;
			break;
		}
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
	for (size_t i = first; i < lackey->streams.n; i++) {
		s = streams_of(lackey)[i];
		s->ended = true;
		if (s->fd > STDIN_FILENO)
			close(s->fd);
		s->fd = -1;
	}
	return ok;
}
