// SPDX-License-Identifier: Apache-2.0
#include "resolve/native.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/units.h"
#include "discover/elf_image.h"
#include "discover/target.h"

#define NATIVE_IMAGES 64	/* open at the same time; the one not used for longest goes */
#define NATIVE_REFRESHES 64	/* processes whose last look at /proc/PID/maps is remembered */
#define NATIVE_REFRESH_NS NS_PER_S
#define NATIVE_LIBRARY_BYTES 64
#define NATIVE_NAME_BYTES 224

/* Which file an image was made of; another size or time is another file. */
struct file_id {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct cached_image {
	struct file_id id;
	struct elf_image *image;	/* NULL: no ELF file */
	uint64_t used;		/* when, in look-ups; 0: free */
};

struct refresh {
	pid_t pid;
	uint64_t time_ns;
};

struct native_cache {
	struct cached_image images[NATIVE_IMAGES];
	struct refresh refreshes[NATIVE_REFRESHES];
	uint64_t lookups;
};

/* What the interpreter does for any Python code, whatever the code is. */
static const char *const evaluation[] = {
	"_PyEval_", "PyEval_", "_PyFrame_", "PyFrame_", "_PyFunction_", "PyFunction_",
	"_PyObject_", "PyObject_", "_PyType_Lookup", "_Py_Dealloc", "_PyGen_", "PyGen_",
	"PyIter_", "PyVectorcall_", "PyMem_", "_PyMem_", "_Py_Specialize_", "_PyStack_",
	"PyNumber_", "_PyCode_", "PyMethod_", "PyCell_", "PyErr_CheckSignals",
	"allocate_from_new_pool", "new_arena", "pymalloc_", "unicodekeys_", "_Py_dict_lookup",
	"insertdict", "dictresize", "_Py_NewReference", "_Py_HandlePending",
	"_Py_MakeCoro", "_TAIL_CALL_", "_Py_CheckFunctionResult",
};

struct native_cache *native_cache_new(void)
{
	return calloc(1, sizeof(struct native_cache));
}

void native_cache_free(struct native_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < NATIVE_IMAGES; i++)
		elf_image_free(cache->images[i].image);
	free(cache);
}

static bool same_file(const struct file_id *a, const struct file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* The image behind a mapping, borrowed until the next call; NULL when there is none. */
static struct elf_image *image_of(struct native_cache *cache, const struct target *target,
				  const struct mapping *mapping)
{
	_cleanup_fd_ int fd = process_open_file(target->pid, mapping->path, mapping);
	struct cached_image *oldest = &cache->images[0];
	struct file_id id = {};
	struct stat status;
	int taken;

	if (fd < 0 || fstat(fd, &status))
		return NULL;
	id.device = status.st_dev;
	id.inode = status.st_ino;
	id.size = status.st_size;
	id.changed = status.st_mtim;
	cache->lookups++;
	for (size_t i = 0; i < NATIVE_IMAGES; i++) {
		struct cached_image *cached = &cache->images[i];

		if (cached->used && same_file(&cached->id, &id)) {
			cached->used = cache->lookups;
			return cached->image;
		}
		if (cached->used < oldest->used)
			oldest = cached;
	}
	elf_image_free(oldest->image);
	*oldest = (struct cached_image){ .id = id, .used = cache->lookups };
	taken = fd;
	fd = -1;
	if (elf_image_open(taken, &oldest->image))
		oldest->image = NULL;
	return oldest->image;
}

/* May /proc/PID/maps be read again?  Not for each sample in memory that is in no mapping. */
static bool may_refresh(struct native_cache *cache, pid_t pid)
{
	struct refresh *refresh = &cache->refreshes[(unsigned)pid % NATIVE_REFRESHES];
	uint64_t now = monotonic_ns();

	if (refresh->pid == pid && now - refresh->time_ns < NATIVE_REFRESH_NS)
		return false;
	*refresh = (struct refresh){ pid, now };
	return true;
}

static const struct mapping *mapping_of(struct native_cache *cache, struct target *target,
					uint64_t ip)
{
	const struct mapping *mapping = mappings_find(&target->mappings, ip);

	if (!mapping && may_refresh(cache, target->pid) && !target_refresh(target))
		mapping = mappings_find(&target->mappings, ip);
	/* A file's path is absolute; "[vdso]", "//anon" and the like are no files. */
	if (!mapping || !mapping->executable || mapping->path[0] != '/' ||
	    mapping->path[1] == '/')
		return NULL;
	return mapping;
}

/* "libz.so.1.2.13" -> "libz.so.1", "_json.cpython-312-x86_64-linux-gnu.so" -> "_json.so". */
static void library_name(const char *path, char *buffer, size_t size)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *tag = strstr(base, ".cpython-");
	const char *so = strstr(base, ".so");
	size_t length = strlen(base);

	if (tag && so && so > tag && !so[3]) {
		snprintf(buffer, size, "%.*s.so", (int)(tag - base), base);
		return;
	}
	if (so && so[3] == '.')
		length = (size_t)(so - base) + 4 + strcspn(so + 4, ".");
	snprintf(buffer, size, "%.*s", (int)length, base);
}

static bool is_evaluation(const char *symbol)
{
	for (size_t i = 0; i < sizeof(evaluation) / sizeof(evaluation[0]); i++)
		if (!strncmp(symbol, evaluation[i], strlen(evaluation[i])))
			return true;
	return strstr(symbol, "vectorcall") != NULL;
}

const char *native_name(struct native_cache *cache, struct target *target, uint64_t ip)
{
	const struct mapping *mapping = mapping_of(cache, target, ip);
	char library[NATIVE_LIBRARY_BYTES], name[NATIVE_NAME_BYTES];
	const char *symbol = NULL;
	struct elf_image *image;
	uint64_t address;

	if (!mapping)
		return NULL;
	image = image_of(cache, target, mapping);
	if (image && !elf_image_address_of_offset(image, ip - mapping->start + mapping->offset,
						  &address))
		symbol = elf_image_function_at(image, address);
	if (target->interpreter && !strcmp(mapping->path, target->interpreter)) {
		if (!symbol || is_evaluation(symbol))
			return NULL;
		snprintf(library, sizeof(library), "python");
	} else {
		library_name(mapping->path, library, sizeof(library));
	}
	if (!symbol)
		return intern(library);
	snprintf(name, sizeof(name), "%s:%s", library, symbol);
	return intern(name);
}
