"""Reference values of stats_test.go. pip install scipy==1.17.1; python reference.py"""
from scipy import stats

x = [0.61, 0.58, 0.64, 0.55]
print("student", stats.t.interval(0.95, len(x) - 1, loc=sum(x) / len(x), scale=stats.sem(x)))
for good, n in ((47, 100), (0, 20)):
    print("wilson", good, n, stats.binomtest(good, n).proportion_ci(0.95, method="wilson"))
