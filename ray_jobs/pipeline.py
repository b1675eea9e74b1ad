from ray_jobs.command_line import job_parser, parse, run
from workflow.pipeline import STAGES, run_pipeline

if __name__ == "__main__":
    parser = job_parser("pipeline", (run_pipeline.__doc__ or "").split("\n\n")[0])
    parser.add_function_arguments(run_pipeline, skip={"stages", "resume"})
    for stage, (function, wired) in STAGES.items():
        parser.add_function_arguments(function, stage, skip=wired)
    arguments = parse(parser, "pipeline")
    stages = {stage: arguments.pop(stage) for stage in STAGES}
    run(lambda: run_pipeline(**arguments, stages=stages))
