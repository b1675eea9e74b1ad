from clicks.fit_clicks import fit_clicks
from ray_jobs.command_line import run_job

if __name__ == "__main__":
    run_job("fit_clicks", fit_clicks)
