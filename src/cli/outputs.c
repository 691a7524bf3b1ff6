// SPDX-License-Identifier: Apache-2.0
#include "cli/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "export/exporter.h"

/* A FIFO that nobody reads is an error, not something to wait for. */
static int open_existing(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

static bool same_file(FILE *a, FILE *b)
{
	struct stat first, second;

	return !fstat(fileno(a), &first) && !fstat(fileno(b), &second) &&
	       S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

static int output_open(const struct options *options, struct output_files *files, size_t index)
{
	struct output_file *output = &files->items[index];
	const char *path = options->outputs[index].path;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	output->created = fd >= 0;
	if (fd < 0 && errno == EEXIST) {
		if (!options->force) {
			log_error(0, "%s exists; --force replaces it", path);
			return EXIT_USAGE;
		}
		fd = open_existing(path);
	}
	output->file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!output->file) {
		log_error(0, "cannot write %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < index; i++) {
		if (same_file(files->items[i].file, output->file)) {
			log_error(0, "%s is the output of two formats", path);
			return EXIT_USAGE;
		}
	}
	return -1;
}

int outputs_open(const struct options *options, struct output_files *files)
{
	int status = -1;

	*files = (struct output_files){ 0 };
	for (size_t i = 0; i < options->output_count && status < 0; i++)
		status = output_open(options, files, i);
	if (status >= 0)
		outputs_drop(options, files);
	return status;
}

/* What was in the file goes only now that there is something to replace it. */
static int make_empty(FILE *file)
{
	struct stat status;

	if (fstat(fileno(file), &status))
		return -errno;
	return S_ISREG(status.st_mode) && ftruncate(fileno(file), 0) ? -errno : 0;
}

int outputs_write(const struct options *options, struct output_files *files,
		  const struct report *report)
{
	struct export_options wanted = { .route_glob = options->route, .sort = options->sort,
					 .all = true };
	int status = EXIT_DONE;

	for (size_t i = 0; i < options->output_count; i++) {
		FILE *file = files->items[i].file;
		int error = make_empty(file);

		if (!error)
			error = options->outputs[i].exporter->write(report, &wanted, file);
		if (fclose(file) && !error)
			error = -errno;
		files->items[i].file = NULL;
		if (error) {
			log_error(0, "cannot write %s: %s", options->outputs[i].path,
				  strerror(-error));
			status = EXIT_FAILED;
		}
	}
	return status;
}

void outputs_drop(const struct options *options, struct output_files *files)
{
	for (size_t i = 0; i < options->output_count; i++) {
		struct output_file *output = &files->items[i];

		if (!output->file)
			continue;
		fclose(output->file);
		if (output->created)
			unlink(options->outputs[i].path);
		output->file = NULL;
	}
}
