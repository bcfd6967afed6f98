"""How to read the page: for people who have never seen the suite, and what lies behind it for those
who ask.
"""

from __future__ import annotations

from reports.comparing import PAIRED
from reports.ranking import BIAS, FEWEST, RATE
from reports.results import DISAGREE
from reports.sheet import LEGEND

HOW_TO_READ = (
    (
        "What was asked",
        (
            "Each method had to approximate a probability distribution, the posterior, whose true"
            " shape is known here. The first figure of every table says how far its answer q is"
            " from the truth p: KL(q‖p), in nats. 0 is perfect, and more is worse. At 0.01 a"
            " picture hardly shows a difference; at 0.1 it does; at 0.69 one of two equal humps is"
            " missing."
        ),
    ),
    (
        "Four kinds of figure",
        (
            "“0.286 ± 0.004, exact”: right but for chance. “0.296 to 0.301, between bounds”: no"
            " less than the one and no more than the other. “≥ 0.18, lower bound”: this or more, so"
            " that a small one is no praise. “0.02 ± 0.03, estimate”: from draws alone, and"
            " blurred. Hold an estimate against the row “exact”, which is what the same metric"
            " reads on the truth itself: if that is 0.00 ± 0.03, then 0.02 cannot be told from the"
            " truth."
        ),
    ),
    (
        "What ± means",
        (
            "0.286 ± 0.004: measured without noise, these very runs would read between 0.282 and"
            " 0.290, in 19 of 20 cases. Each method ran several times with other random"
            " numbers, its seeds. Where they differ by more than that, their values stand beside"
            " the mean: “0.236 ± 0.009, seeds 0.143, 0.330”. Then trust the seeds, not the mean."
            " “No interval”: the draws of that method interact, as particles that repel one another"
            " do, so that one run does not tell its own error. Several seeds do, and ± is then"
            " Student's interval of their spread."
        ),
    ),
    (
        "Stars",
        (
            f"{LEGEND} One method is called better than another only where seeds and noise together"
            " bear it out: of all that is said of one problem by one figure, anything at all is"
            f" wrong in at most {RATE:.0%} of such tables."
        ),
    ),
)
GENERATIVE_MODELS = (
    "Generative models",
    (
        "A learner had to find a decoder p(x|z), which draws data x from latent variables z, and an"
        " encoder q(z|x), the posterior of every x at once. log p(x) says how likely the decoder"
        " finds test data: log p*(x) - log p(x) is what it loses to the law that drew them, 0 where"
        " it has found that law. The ELBO is log p(x) less KL(q(z|x)‖p(z|x)), what the encoder"
        " loses to the exact posterior of its own decoder. KL(q(z)‖p(z)) says how far the codes of"
        " all x together are from the prior, from which the model draws."
    ),
)
MORE_EXACTLY = (
    (
        "Noise floor",
        (
            "The row “exact” is what the estimators from draws read on fresh draws of the truth. An"
            " estimate that, less 1.96 standard errors, is not above the upper end of the floor's"
            " interval cannot be told from the truth (○); nor can what a squared MMD or KSD reads"
            " there, which is unbiased and has the same floor. Log q − log p is constant where q is"
            " p: estimators by densities have no noise, so that exact values, bounds and brackets"
            " of a divergence beside an estimated floor are held against 0, and a bracket is at the"
            " floor only with both of its ends. Inside the floor nothing is ranked. A lower bound"
            " inside the floor of bounds shows nothing."
        ),
    ),
    (
        "Who is better than whom",
        (
            "Every pair of methods is compared, on a scale that is logarithmic above the noise. A"
            " difference counts if Welch's test on the spread of the seeds finds it, or a test that"
            " supposes the seeds of a method to differ by a factor of two either way at one"
            " standard deviation; each has half of the error rate, and both must clear the standard"
            " errors as well. So two seeds can show a large difference, and seeds that agree a"
            " small one; seeds seen to differ by more than a factor of two are judged by what is"
            " seen alone. Figures that rest on the same draws of the truth are paired, from"
            f" {PAIRED} common seeds on. Holm's procedure holds the chance that any of the"
            f" statements on one problem by one metric is wrong at {RATE:.0%}. ★ takes {FEWEST}"
            " seeds of the method."
            " A margin with ± is a difference of means; “at least” is what is left of it when"
            " bounds and estimates are taken at their worst."
        ),
    ),
    (
        "Estimates beside other kinds",
        (
            f"Against another kind an estimate may be {BIAS:g} times too large, and one of KL above"
            " the floor too small by any factor; without a floor it may be noise, and is neither"
            " worse nor best. Where perfect is not 0, the distance from the ideal is ranked."
        ),
    ),
    (
        "What is not believed",
        (
            "A divergence is never below 0: one that is, by more than four standard errors, shows"
            " that the method's density is not normalised or that log Z is wrong. An estimate of KL"
            " whose interval lies below the floor, one of KL(q‖p) that a lower bound denies, one"
            f" from chains that do not agree (split R-hat above {DISAGREE:g}), and one from draws"
            " that interact, which nearest neighbours take for independent, are misled. None of"
            " these earns a mark. What is below 10⁻⁹ nats is rounding."
        ),
    ),
    (
        "Cells set apart",
        (
            "A cell is one method on one problem with one seed. One that was cut short by a guard"
            " of seconds, or that could be measured in part only, is listed with its figure and the"
            " reason, and is neither averaged nor ranked. Costs are means over seeds, and beside"
            " them the range."
        ),
    ),
)
