#!/usr/bin/env bash
# A Flink cluster on this machine, for tests: a JobManager, two TaskManagers and Beam's job server, from Maven Central.
#
#   pipelines/flink/flink.sh up     starts it; needs Java 17 and Maven
#   pipelines/flink/flink.sh test   compares what bin/sdr makes there with what it makes on prism
#   pipelines/flink/flink.sh chaos  kills what takes part in a run there, and compares its weights with those of prism
#   pipelines/flink/flink.sh down   ends it
#
# Everything is in .cache/flink: the jars, logs, and the processes' numbers. PIN=1 gives each TaskManager, with its
# worker, one core.
# IMAGES shortens the trainings of the test, which take twice the time of the main job; KILLS is how often chaos kills.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${FLINK_DIR:-$here/../../.cache/flink}
mkdir -p "$root" && root=$(cd "$root" && pwd)
mkdir -p "$root"/{lib,conf,log,pid,artifacts,tmp}

jars() {
	if ! (cd "$root/lib" && sha256sum --quiet --check "$here/jars.sha256") >"$root/log/jars" 2>&1; then
		echo 'fetching 154 MB of jars from Maven Central'
		mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$root/lib"
		(cd "$root/lib" && sha256sum --quiet --check "$here/jars.sha256")
	fi
}

# start NAME COMMAND... runs a Java program in the background.
start() {
	local name=$1
	shift
	TMPDIR=$root/tmp setsid java -Dlog4j2.configurationFile="$here/log4j2.properties" -Djava.io.tmpdir="$root/tmp" "$@" \
		>"$root/log/$name" 2>&1 </dev/null &
	echo $! >"$root/pid/$name"
}

# await WHAT COMMAND... waits until a command succeeds.
await() {
	local what=$1
	shift
	for _ in $(seq 240); do
		if "$@" >/dev/null 2>&1; then return; fi
		for pid in "$root"/pid/*; do
			if ! kill -0 "$(cat "$pid")" 2>/dev/null; then
				echo "$(basename "$pid") has ended; see $root/log/$(basename "$pid")" >&2
				exit 1
			fi
		done
		sleep 0.5
	done
	echo "no $what after two minutes; see $root/log" >&2
	exit 1
}

slots() { curl -fs localhost:8081/overview | grep -q "\"slots-total\":$1"; }
open() { (exec 3<>"/dev/tcp/localhost/$1"); }

taskmanager() {
	local params
	params=$(java -Dlog4j2.configurationFile="$here/log4j2.properties" org.apache.flink.runtime.util.bash.BashJavaUtils GET_TM_RESOURCE_PARAMS \
		--configDir "$root/conf" | sed -n 's/^BASH_JAVA_UTILS_EXEC_RESULT://p')
	# The workers compute, and need the cores that Java's collector and compiler would take.
	# shellcheck disable=SC2046 # the parameters are words
	start "$1" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 $(sed -n 1p <<<"$params") org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$root/conf" \
		$(sed -n 2p <<<"$params") -D taskmanager.resource-id="$1"
	if [ -n "${PIN:-}" ]; then taskset -acp "$((${1#taskmanager-} - 1))" "$(cat "$root/pid/$1")" >/dev/null; fi
}

up() {
	down
	jars
	cp "$here/config.yaml" "$root/conf"
	export CLASSPATH="$root/lib/*"
	start jobmanager -Xmx384m -XX:MaxMetaspaceSize=192m org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$root/conf"
	await 'JobManager at port 8081' slots 0
	taskmanager taskmanager-1
	taskmanager taskmanager-2
	# The job server sends its class path to the cluster with every job. The TaskManagers have the jars already, so most are
	# on the boot class path instead, which it does not send: a job takes 14 s less.
	local sent all
	all=$(printf '%s\n' "$root"/lib/*.jar)
	sent=$(grep -E '/(beam-runners-flink-|flink-(java|clients|streaming-java|optimizer)-|log4j-slf4j-impl)' <<<"$all")
	CLASSPATH=$(paste -sd: <<<"$sent") start jobserver -Xmx512m -Xbootclasspath/a:"$(grep -vxF "$sent" <<<"$all" | paste -sd:)" org.apache.beam.runners.flink.FlinkJobServerDriver --flink-master=localhost:8081 --flink-conf-dir="$root/conf" \
		--job-port=8099 --artifact-port=8098 --expansion-port=-1 --artifacts-dir="$root/artifacts"
	await 'TaskManagers' slots 2
	await 'job server at port 8099' open 8099
	echo 'Flink is up: --runner flink --endpoint localhost:8099; its page is http://localhost:8081'
}

down() {
	for pid in "$root"/pid/*; do
		[ -e "$pid" ] || continue
		if ! grep -qs flink "/proc/$(cat "$pid")/cmdline"; then # it has ended, and the number may be another's
			rm -f "$pid"
			continue
		fi
		kill "$(cat "$pid")" 2>/dev/null || true
		for _ in $(seq 50); do
			kill -0 "$(cat "$pid")" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 "$(cat "$pid")" 2>/dev/null || true
		rm -f "$pid"
	done
	rm -rf "$root"/artifacts/* "$root"/tmp/*
}

# same FILE FILE compares two files bit by bit.
same() {
	cmp "$1" "$2" || exit 1
	compared=$((compared + 1))
}

sdr() { "$here/../../bin/sdr" --log-level warn "$@"; }

running() { curl -fs localhost:8081/overview | grep -q '"jobs-running":[1-9]'; }

run_test() {
	local images=${IMAGES:-500000} data out compared=0
	data=$(cd "$here/../../testdata" && pwd)
	out=$(mktemp -d)
	for runner in prism flink; do
		local on=(--runner $runner) to=$out/$runner
		if [ $runner = flink ]; then on+=(--endpoint localhost:8099); fi
		mkdir "$to"
		echo "on $runner"
		time sdr pretrain --recipe quickstart --set train.images="$images" --data "$data/pool" --tasks "$data/tasks" --out "$to/run" "${on[@]}" >"$to/table"
		time sdr pretrain --recipe quickstart --set train.images=$((images / 8)) --set train.rounds.bins=2 --set train.rounds.steps=50 \
			--data "$data/pool" --out "$to/bins" "${on[@]}" >"$to/nets"
		sdr route --run "$out/prism/run" --tasks "$data/tasks/*-train.parquet" --out "$to/routed" "${on[@]}" >"$to/routes"
		sdr evaluate --run "$out/prism/run" --tasks "$data/tasks" --format json "${on[@]}" >"$to/evaluation.json"
		sdr embed --model "$out/prism/run/routed/emoji/model.safetensors" --data "$data/pool/emoji.parquet" --out "$to/features.parquet" "${on[@]}"
	done
	for run in run bins; do
		for model in "$out/prism/$run"/models/*; do
			same "$model" "$out/flink/$run/models/$(basename "$model")"
		done
	done
	for file in run/results.csv routed/scores.parquet evaluation.json features.parquet; do
		same "$out/prism/$file" "$out/flink/$file"
	done
	echo "$compared files are the same, bit by bit"
	cat "$out/flink/table"

	"$here/../../bin/sdr" pretrain --recipe quickstart --data "$data/pool" --out "$out/canceled" --runner flink --endpoint localhost:8099 &
	await 'running job' running
	kill -TERM $!
	wait $! && exit 1
	if running; then
		echo 'an interrupted run has left a job' >&2
		exit 1
	fi
	echo 'an interrupted run leaves no job'
	rm -rf "$out"
}

# chaos kills, at random moments of small runs, a worker, a TaskManager (which is started again) or the driver (which is
# told to resume).
chaos() {
	local data out killed=0 runs=0 victim pid
	data=$(cd "$here/../../testdata" && pwd)
	out=$(mktemp -d)
	local run=(pretrain --recipe smoke --data "$data/pool" --set train.rounds.bins=2 --set train.rounds.steps=10)
	export CLASSPATH="$root/lib/*"
	sdr "${run[@]}" --out "$out/prism" >/dev/null
	while [ "$killed" -lt "${KILLS:-10}" ]; do
		while :; do
			"$here/../../bin/sdr" "${run[@]}" --out "$out/flink" --runner flink --endpoint localhost:8099 --resume >"$out/log" 2>&1 &
			driver=$!
			sleep $((3 + RANDOM % 30))
			victim=$(shuf -n 1 -e worker worker taskmanager driver)
			case $victim in
			worker) pid=$(pgrep -f 'bin/sdr .*provision_endpoint' | shuf -n 1 || true) ;;
			taskmanager) pid=$(cat "$root/pid/taskmanager-1") ;;
			driver) pid=$driver ;;
			esac
			if kill -0 "$driver" 2>/dev/null && [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; then
				killed=$((killed + 1))
				echo "$(date +%T) killed a $victim, in $(tail -1 "$out/log" | grep -o 'stage=[a-z0-9]*' || echo 'stage=?')"
				if [ $victim = taskmanager ]; then taskmanager taskmanager-1; fi
			fi
			if wait $driver; then break; fi
			if [ $victim != driver ]; then
				cat "$out/log" >&2
				exit 1
			fi
			sleep 3 # its job ends
		done
		for model in "$out"/prism/models/*; do
			cmp "$model" "$out/flink/models/$(basename "$model")" || exit 1
		done
		runs=$((runs + 1))
		rm -rf "$out/flink"
	done
	echo "$killed kills in $runs runs, whose weights are all those of prism"
	rm -rf "$out"
}

case ${1:-} in
up | down | chaos) "$@" ;;
test) run_test ;;
*)
	sed -n '/^#   /s/^# *//p' "$0" >&2
	exit 2
	;;
esac
