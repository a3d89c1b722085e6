/* SPDX-License-Identifier: MIT */
/*
 * pagesim convert: any form of a trace into any other. What comes in is known by its first bytes, what goes out by the name of the
 * output or --to. When the input turns out to be damaged on the way, what came before is written and closed properly,
 * and the error is reported.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagesim/trace_import.h>

#include "cmd.h"

enum form {
	FORM_UNSAID,
	FORM_PGT,
	FORM_TEXT,
	FORM_PGS,
};

struct options {
	gboolean fetches;
	gint fold;
	gint level;
};

static enum form form_of_name(const char *name)
{
	if (g_str_has_suffix(name, ".pgt"))
		return FORM_PGT;
	if (g_str_has_suffix(name, ".pgs"))
		return FORM_PGS;
	return FORM_UNSAID;
}

static enum form form_of_word(const char *word)
{
	return !strcmp(word, "pgt")    ? FORM_PGT
	       : !strcmp(word, "text") ? FORM_TEXT
	       : !strcmp(word, "pgs")  ? FORM_PGS
				       : FORM_UNSAID;
}

/* The writer's part of an import or a copy: header, frames, index. */
static struct ps_trace_writer *new_writer(const struct options *o, int fd, const char *name,
					  const struct ps_trace_info *info, GError **error)
{
	struct ps_trace_writer_settings settings = { .fold = (u32)o->fold, .level = o->level };

	return ps_trace_writer_new(fd, name, info, &settings, error);
}

/* Ends the trace also after @ok turned false, so that what came before can be read. The first error is the one to report. */
static bool end_writer(struct ps_trace_writer *w, bool ok, GError **error)
{
	GError *finish_error = NULL;

	if (!ps_trace_writer_finish(w, &finish_error)) {
		if (ok)
			g_propagate_error(error, finish_error);
		else
			g_error_free(finish_error);
		ok = false;
	}
	ps_trace_writer_free(w);
	return ok;
}

static bool import(const struct options *o, char **from, size_t n, int fd, const char *to, GError **error)
{
	const struct ps_trace_info info = { .source = "lackey",
					    .created_by = "pagesim " PAGESIM_VERSION,
					    .clock = PS_CLOCK_INSTRUCTIONS };
	const struct ps_lackey_settings settings = { .fetches = o->fetches };
	struct ps_trace_writer *w = new_writer(o, fd, to, &info, error);
	struct ps_lackey *lackey;
	bool ok;

	if (!w)
		return false;
	lackey = ps_lackey_new(w, &settings);
	if (!lackey) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", from[0]);
		return end_writer(w, false, NULL);
	}
	ok = ps_lackey_import(lackey, from, n, error);
	ps_lackey_finish(lackey);
	ps_lackey_free(lackey);
	return end_writer(w, ok, error);
}

static bool copy(const struct options *o, struct ps_trace_reader *r, int fd, const char *to, GError **error)
{
	struct ps_trace_info info = *ps_trace_reader_info(r);
	struct ps_trace_writer_settings settings = { .fold = info.fold, .level = o->level };
	struct ps_trace_writer *w;

	if (!*info.created_by)
		info.created_by = "pagesim " PAGESIM_VERSION;
	w = ps_trace_writer_new(fd, to, &info, &settings, error);
	return w && end_writer(w, ps_trace_copy(r, w, error), error);
}

/* A trace that holds statements only goes back to a script. */
static bool write_script(struct ps_trace_reader *r, int fd, const char *to, GError **error)
{
	struct ps_trace_batch b;
	enum ps_trace_next next;
	FILE *f = fdopen(dup(fd), "w");
	bool ok = f != NULL;

	while (ok && (next = ps_trace_reader_next(r, &b, error)) == PS_TRACE_BATCH) {
		if (!b.event || b.event->kind != PS_EVENT_STATEMENT) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_ARGUMENT,
				    "%s: expected statements only, found %s: a recorded program is no script (--to "
				    "text prints it)",
				    ps_trace_reader_name(r), b.event ? ps_event_word(b.event->kind) : "accesses");
			fclose(f);
			return false;
		}
		fprintf(f, "%s\n", b.event->name);
	}
	if (!ok || ferror(f) || fclose(f)) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot write: %s", to, g_strerror(errno));
		return false;
	}
	return next == PS_TRACE_END;
}

static bool convert(const struct options *o, struct ps_trace_reader *r, enum form to_form, int fd, const char *to,
		    GError **error)
{
	return to_form == FORM_PGT   ? copy(o, r, fd, to, error)
	       : to_form == FORM_PGS ? write_script(r, fd, to, error)
				     : ps_trace_dump(r, fd, to, error);
}

/* Lackey text goes through a trace of no name to become text. */
static bool import_to_text(const struct options *o, char **from, size_t n, int fd, const char *to, GError **error)
{
	char *path = NULL;
	int through = g_file_open_tmp("pagesim-XXXXXX", &path, error);
	struct ps_trace_reader *r = NULL;
	GError *import_error = NULL;
	bool ok;

	if (through < 0)
		return false;
	unlink(path);
	g_free(path);
	ok = import(o, from, n, through, to, &import_error);
	if (lseek(through, 0, SEEK_SET) == 0)
		r = ps_trace_reader_new(through, to, ok ? error : NULL);
	ok = r && ps_trace_dump(r, fd, to, ok ? error : NULL) && ok;
	ps_trace_reader_free(r);
	if (import_error)
		g_propagate_error(error, import_error);
	close(through);
	return ok;
}

/* What an importer reads; everything else is a trace. */
static bool is_import(enum ps_trace_form form)
{
	return form == PS_FORM_LACKEY;
}

/*
 * All that can be known to be wrong before the output is touched: an input that is none must not cost the file that was
 * there. @ret_reader: of the input unless that is imported.
 */
static bool open_input(char **from, size_t n, enum ps_trace_form form, enum form to_form,
		       struct ps_trace_reader **ret_reader, GError **error)
{
	*ret_reader = NULL;
	if (is_import(form) && to_form == FORM_PGS) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_ARGUMENT,
			    "%s: a recorded program is no script (--to text prints it)", from[0]);
		return false;
	}
	if (!is_import(form)) {
		*ret_reader = ps_trace_reader_open(from[0], error);
		return *ret_reader != NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(from[i], "-") && access(from[i], R_OK)) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot open: %s", from[i],
				    g_strerror(errno));
			return false;
		}
	}
	return true;
}

static bool same_file(const char *from, const char *to)
{
	struct stat a, b;

	return strcmp(from, "-") && !stat(from, &a) && !stat(to, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int cmd_convert(int argc, char **argv)
{
	struct options o = { 0 };
	g_autofree char *form_word = NULL;
	const GOptionEntry entries[] = {
		{ "fetches", 0, 0, G_OPTION_ARG_NONE, &o.fetches, "Import instruction fetches as accesses too", NULL },
		{ "fold", 0, 0, G_OPTION_ARG_INT, &o.fold,
		  "Import: fold an access into one of the last N records (default 1: only into the last one)", "N" },
		{ "level", 0, 0, G_OPTION_ARG_INT, &o.level, "Compression level of a .pgt (default 6, at most 22)",
		  "N" },
		{ "to", 0, 0, G_OPTION_ARG_STRING, &form_word,
		  "What to make: pgt, text or pgs (default: by the name of OUT)", "FORM" },
		{ 0 },
	};
	struct ps_trace_reader *r;
	GError *error = NULL;
	enum ps_trace_form form;
	enum form to_form;
	const char *to;
	size_t n;
	int status, fd;
	bool ok;

	if (!cmd_parse(&argc, &argv, entries, "IN... OUT",
		       "IN is lackey output of valgrind (several files of one run with --log-file=F.%p), a binary "
		       "trace, its text form,\n"
		       "or a script; its first bytes decide. OUT ending in .pgt is binary, in .pgs a script, anything "
		       "else text.\n"
		       "- is standard input or output.",
		       &status))
		return status;
	if (argc < 3)
		return cmd_misused("expected IN... and OUT");
	if (o.fold < 0 || o.fold > 64)
		return cmd_misused("--fold is 1 to 64, not %d", o.fold);
	if (o.level < 0 || o.level > 22)
		return cmd_misused("--level is 1 to 22, not %d", o.level);
	n = (size_t)argc - 2;
	to = argv[argc - 1];
	to_form = form_word ? form_of_word(form_word) : form_of_name(to);
	if (form_word && to_form == FORM_UNSAID)
		return cmd_misused("--to is pgt, text or pgs, not '%s'", form_word);
	if (to_form == FORM_UNSAID)
		to_form = FORM_TEXT;
	for (size_t i = 0; i < n; i++)
		if (same_file(argv[1 + i], to))
			return cmd_misused("'%s' is both input and output", to);

	form = ps_trace_form_of(argv[1], &error);
	if (!error && n > 1 && form != PS_FORM_LACKEY)
		return cmd_misused("only lackey output can be several files; '%s' is a %s", argv[1],
				   ps_trace_form_word(form));
	if (!error && (o.fetches || o.fold) && form != PS_FORM_LACKEY)
		return cmd_misused("--fetches and --fold are for lackey output; '%s' is a %s", argv[1],
				   ps_trace_form_word(form));
	if (to_form == FORM_PGT && !strcmp(to, "-") && isatty(STDOUT_FILENO))
		return cmd_misused("a binary trace is not for a terminal");
	if (error || !open_input(argv + 1, n, form, to_form, &r, &error)) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		return status;
	}
	fd = strcmp(to, "-") ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : STDOUT_FILENO;
	if (fd < 0) {
		status = cmd_fail("%s: cannot create: %s", to, g_strerror(errno));
		ps_trace_reader_free(r);
		return status;
	}
	if (fd == STDOUT_FILENO)
		to = "standard output";
	if (r)
		ok = convert(&o, r, to_form, fd, to, &error);
	else if (to_form == FORM_TEXT)
		ok = import_to_text(&o, argv + 1, n, fd, to, &error);
	else
		ok = import(&o, argv + 1, n, fd, to, &error);
	ps_trace_reader_free(r);
	if (fd != STDOUT_FILENO && close(fd) && ok) {
		ok = false;
		g_set_error(&error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot write: %s", to, g_strerror(errno));
	}
	if (ok)
		return CMD_OK;
	status = cmd_fail("%s", error->message);
	g_error_free(error);
	return status;
}
